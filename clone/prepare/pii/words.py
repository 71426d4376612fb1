"""The words that wake a recognizer, in the languages of the room. Loads the word lists; knows nothing of spans.

A gate over these words lets most messages through untouched: a message no word or digit of which wakes anything holds
nothing the recognizers could find.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files


class Wake:
    """What a message gives reason to look for: bits. Plain integers, since the gate joins them for every word."""

    PASSWORD = 1
    CODE = 2
    DOCUMENT = 4
    BANK = 8
    ADDRESS = 16
    NAME = 32
    BIRTH = 64
    USER = 128
    PLATE = 256
    MAIL = 512
    KEY = 1024
    SEED = 2048
    DIGITS = 4096
    AT = 8192
    URL = 16384
    LONG = 32768
    CJK = 65536
    TITLE = 131072


def read_list(name: str) -> list[str]:
    """Return the lines of a word list, without its comments."""
    text = files("clone.prepare.pii").joinpath("data", name).read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def read_words(name: str) -> frozenset[str]:
    """Return the words of a list that has several on a line."""
    return frozenset(word for line in read_list(name) for word in line.split())


BIP39 = frozenset(read_list("bip39.txt"))

PREFIX_LENGTH = 5

_WAKE: dict[int, str] = {
    Wake.PASSWORD: """
        парол* пасс пассы пасса пас пассворд* пасворд* паспорд* пассфраз* логпас учетк* учётк* логин* залогин* вайфа* вайфай* вай фай вафля
        wifi fi wlan wpa роутер* вход входи входа зайди заходи войди ключ ключи ключа credential* creds
        pass pw pwd psw pswd passwd password* passwort* passcod* passphr* passkey pasword* passwrd passw0rd login* logon signin log
        router ssid hotspot unlock kennwort* losung zugang* zugangs* einlogg* anmeld* logg einlog* accedi accede acceder entra entrar ingresa inicia connec* zalog* giriş gir доступ* попробуй try
        contra contrasen* contraseñ* contraseña clave claves contrasinal
        mdp motdepasse passe mot codewifi identif*
        senha* palavra
        parola* parolę şifre* sifre* şifres* giriş giris
        hasło hasła haslo hasla hasłem hasle haslem
        khẩu khau mk matkhau mkhau pss
        контрасе* changed share поменя* сменил* cambié cambie changé geänd* mudei cambiat* zmieni* değiş* secret secrets секрет* master contra admin netflix* netflix disney spotify hulu hbo нетфли* кинопо* спотиф* стим steam icloud okko prime lowercase uppercase capital caps заглав* букв буквы буква буквой гасло впн vpn госуслуг*
        парол parol parolya parolem паролі пороль паролъ кодов* секрет* ключев* таємн* мереж* network encrypt* memorable decrypt netzw* losun* codew* geheim* logind* anmeld* startpasswort masterpass* masterkenn* passwör* einmal* bildsc* entsp* passw paswword contrs* mets metti pon põe tape digita gib tippe nimm wpisz nhập вводи введи вбей вводь alarm prova prueba essaie spróbuj dene thử спробуй entrare entre accedere użyj гостев* мережа frase palabra secreta phrase chiave chave rede rete kablos* modem* парль парлем пороля парло* psswrd psswo* passowrd passwoed contase* kenwort стиме стима роутере probier* versuch ordi ordinateur compu computador komp kompa komputera bilgisayar* nueva nuova nouveau nowe yenisi vault ipad laptopie prime caps mayúscula minúscula gizli anahtarı şifrey* hasełk* hasełem klucz tajne pas mkhau
        """,
    Wake.CODE: """
        код коды кода коду кодом кодик пин пинк* пинкод* пинкода cvv cvc cvv2 cvc2 цвв цвц домофон* сигнал* сейф* text combo combin* atm банкома* bankomat подтвер* смс смск* эсэмэс*
        пришло пришел пришёл пришла пришли прислал* введи введите вводи вбей вбивай продикт* одноразов* авторизац*
        code codes pin pins otp tan puk 2fa mfa verif* verify sms passco* tfa
        codigo código codigos códigos clave claves verifi* vérif* alarm* alarme alarma digicod* porton* portail
        codice codici geheim* geheimz* türcode tuercode zahlenc* sicher*
        bestät* zugang* einmal* freisch* verifi* kod kodu kodem kody kodun kodum onay doğrul* dogrul* güvenl* şifre şifresi
        mã xác domofon* szyfr entsperren entsperrt unlock unlocks разблок* розблок* desblo* débloq* déverr* sblocca sbloccare odblok*
        code-pin пінкод* пін підтв* надіш* введіть
        arrivato arrivata llegó llego llegado reçu recu chegou recebi kam bekommen przyszedł przyszedl geldi gelen wpisz tippe tape digita introduce ворот* калитк* шлагб* чемод* шкафч* замок замке замка двери дверь ввел вводил pini pinim pinin pinimi gate door keypad safe lockbox locker
        google цифры цифр ccv csc csv kpn свв цвц пуш пуша пуше blik digits прийшл* прийшов надіш* надіс* шлагб* хвіртк* сейфу шлюз
        texted sent sechs tor keller* schlosses garten* hoftor kellertür hoftür authen* combina* kombin* комбін* building entry entrance bike buzzer buzz haustü* torcod* garag* tresor* sperrc* handyc* karten* anmeld* aktivi* schlos* schlüs* fahrrad* zahlen* schlie* prüfn* prüfz* eingan* bildsc* unlock deposit krypto crypto* coffre cadena* interphone caja fuerte cofre interfone cadead* fechad* cancello cancellino cassafo* lucche* citofo* allarme brama bramy domofon furtka furtki sejf sejfu kłódka kłódki asma kapısı két cổng przysz* smskod mtan smstan pushtan chiptan phototan immeuble pincode pincod* doğrul* hane rakam cyfry ziffern zahlen chiffres dígitos digitos cifre c.i. fechadura portão mật điện cửa abhol* paket* packst* gäste* schrank* keybox* пук doorcode gatecode pukcode kodunuz kodum interfon telefonillo klatki klatka цифри цифрами cod accesscode kodik entrycode geschickt gesendet mailroom ipad portal txted gửi envió mandó enviou mandou gönderdi numbers cadeado lucchetto cantina tiefg* paketb* puerta garaje cajero multibanco bancomat geldautomat boîte clés clefs padlock suitcase koffer valise casier maleta taquilla mala armário cassetta valigia armadietto walizka skrytka szafka kilit kilidi kasa valiz bavul khoá khóa vali кладовка ячейка шкафчик валіза przysłał przysłała
        """,
    Wake.DOCUMENT: """
        паспор* серия серии снилс инн огрн огрнип полис* омс дмс водител* права прав ву удостов* загран* закордонн* свидет* рнокпп іпн ідент* посвід* податк* ід id єдрпоу унзр
        passport* passport ssn social itin ein nino insurance nhs medicare medicaid licen* driver* driving dl tin sin tax nin
        dni nif nie cif pasapo* carnet permis* seguridad afiliac* curp rfc nss
        passep* sécu secu sécurité securite nir siret siren vitale fiscal fiscale cni identit* identi* numero numéro
        ausweis* persona* reisep* steuer* sozial* versich* führer* fuehrer* idnr krankenv* kranken* rentenv*
        cpf rg cnpj nif cnh sus cartão cartao cidadão cidadao contrib* identid* utente niss
        codice fiscale partita iva patente passap* tessera carta sanitar*
        pesel nip regon dowód dowod dowodu dowodem paszport* prawo jazdy
        kimlik tckn tc tckimlik pasaport* ehliyet* vergi vkn sgk
        cccd cmnd cmt căn hộ chiếu chieu bhyt mst bhxh gplx
        título eleitor pis pasep ctps séjour residence brp permesso soggiorno aufent* schwerb* pobytu legity* ikamet внж рвп sv svnr rvnr fs fsnr pesel* водій* nuss spi єнп енп медпол* айді посвідка lappen fahrer* kvnr kv egk gesund* tarjeta cédula cedula rut documento persnr passnr passnu* impôts sns cie sürücü sağlık chứng minh bảo hiểm định danh dow fein ni ci employer medical ehliyetim
        """,
    Wake.BANK: """
        счет счёт счета счёта рс карта карту карты карте карточ* реквиз* лицев* срок iban бик картк* рахун* рахунок
        account acct blz acc card cards bank iban sort routing mastercard visa amex maestro exp expiry expires expir* valid mir мир
        cuenta tarjeta caduc* compte carte rib konto kontonummer karte conta cartão cartao validade conto carta scad* rachun* karta kartą karty kartę ważn*
        hesap hesab* konta kontem blz bankle* kart kartı kartım stk tk khoản khoan thẻ iban swift сбер тиньк* тинек мастерк* виза
        wallet кошел* btc eth usdt усдт trx ton биток битко* эфир* биткоин* bitcoin* ethereum* кошельк* гаманець cartera monedero portefeu*
        """,
    Wake.ADDRESS: """
        ул улица улице улицу улицы улицей улка пр просп проспе* пер переул* бульв* бул шоссе наб набере* площа* пл проезд* мкр микрор* тупик квартал линия аллея аллее тракт
        кв квартир* корп корпус* подъез* дом дома доме дому д живу живём живем живет ленина гагарина кирова пушкина советская советской кирова карла маркса либкнехта энгельса фрунзе чапаева калинина жукова суворова кутузова горького маяковского толстого чехова гоголя лермонтова тургенева достоевского есенина чайковского свердлова дзержинского куйбышева орджоникидзе циолковского королева комарова титова невского космонавтов пионерская молодежная молодежная комсомольская пролетарская первомайская октябрьская садовая лесная полевая школьная набережная центральная солнечная зеленая тверская арбат арбате невский невском ленинский кутузовский хрещатик хрещатику шевченка франка бандери грушевського сагайдачного українки живёт адрес* приезжай приезжайте приїж* приїзд* їду їдь заїжд* переех* подъез* теперь привез* встреча* прописк* доставк* вул вулиц* провул* просп* буд
        linden wohnen zum unter straße chung ktx thôn xóm ấp lungot* lungar* p.zza borgo пушкинской лермонтовской некрасовской московской киевской полянка ордынка снт днт loop alley quay green broadway wharf view rise park path pike turnpike plaza run vale street st str road rd avenue ave av lane ln drive dr court ct boulev* blvd terrace crescent close place pl square sq way highway hwy parkway pkwy apt flat unit suite box pobox address grove gardens hill row mews circle cir trail ridge walk
        rambla carrer passeig plaça rúa kra diagonal transversal calle avda avenida plaza paseo carrera cra camino piso portal carretera ronda urb travesia travesía direccion dirección colonia
        rue avenue allée allee impasse chemin quai place cours route bd square villa adresse appt bis
        straße strasse str weg platz gasse damm ufer ring allee hausnr wohne wohnt adresse hof
        via viale piazza corso vicolo largo strada piazzale indirizzo interno lungomare contrada
        rua avenida travessa alameda praça praca largo estrada rodovia endereço endereco apto bloco quadra morada moro
        ul ulica ulicy ulicę aleja al aleje os osiedle plac pl mieszkam mieszkania adres
        mahalle* sok sokak sokağı sk cad cadde* caddesi bulvar* bulvarı apt daire kat adres* blok
        đường duong phố pho ngõ ngo ngách hẻm hem số quận quan phường phuong chung cư tòa căn nhà thôn ấp
        postleitzahl
        """,
    Wake.BIRTH: """
        родил* роди* рожде* рожд др д.р днюх* днюха бёздей рождения гр born birth* birthd* dob bday born bd
        nací naci nació nacio nacida nacido nacimi* cumple* cumplea* né née nee naissan* anniv* annive* geboren geb geburt* gebur* geburtstag
        nasci nasceu nasc nascim* aniver* nascido nascida nato nata nacque nascita complea* comple* nacque urodz* urodzi* doğum* dogum* doğdu* dogdu* sinh sn
        народ* народж* народив* дн г нар geb d.o.b
        cumplo варенья
        """,
    Wake.USER: """
        ник ники никнейм* логин* юзер* юзерн* инст* инста инсте инсту инстаг* тг телег* телеге телеграм* дискорд* скайп* стим стиме вк твич тикток* аккаунт* акк профил* подпи* нік
        github gitlab linkedin add venmo paypal cashapp insta* nick nickname nickn* user usern* username userna* handle ig insta instag* instagram tg telegram discord snap snapchat skype steam twitch tiktok twitter reddit gamertag psn xbox login id follow telega kik wechat qq
        нікнейм* користувач пользователь юзер юзера логін логіну логіном zockername gamername twitchu twitchte twitchta discordzie discordda steamie steamde instagramie telegramie usuario usuari* utilis* pseudo benutz* nutzer* nutzername
        інста інсту інсті інстаг* тікток* стім твіч діскорд* fb tk acc búscame buscame kick zaloguj đăng venmo cashapp screen ign epic roblox follow account profil* kennung nik konto takma rumuz compte utente usuário utilizador użytko* nazwa użytkownika kullan* kullanıcı tên
        """,
    Wake.PLATE: """
        номер номера номером номерн* номерз* госном* авто машин* машина тачк* тачка гос номерок авто автом* машиною
        plate plates tag reg registr* license licence car matric* matríc* coche placa placas plaque immat* immatr* voiture auto kennz* kennze* nummern* nummer carro targa macchina
        rejest* rejestr* tablic* samochód auta auto
        moped mofa roller blachy blacha kfz wagen araç araci caisse chapa targata parkt geparkt gehört moto motos scooter furgon* camion* мотик мотоц* polo passat golf škoda skoda octavia opel corsa renault clio megane mégane peugeot citroen citroën fiat panda punto nissan mazda hyundai mercedes corolla camry civic dacia duster volvo lexus tesla subaru mitsubishi suzuki volkswagen vw chevrolet jeep prius bmw audi toyota honda ford kia ниссан ніссан камри королла солярис рено опель мазда хонда шкода мерс бмв ауди ауді форд пежо ланос держномер* номерний suv truck van parked targata tags plaka* plakam plakası araba biển bien xe
        """,
    Wake.MAIL: """
        собак* собака собачк* точка почта почту почте мыло емейл имейл мейл gmail гмейл джимейл mail email hotmail yahoo outlook icloud proton protonmail yandex yandexru яндекс
        arroba punto punkt point arobase aroba klammera* klamm* affens* chioccio* malpa małpa kropka nokta kuyruklu ponto chấm chamm dot ет равлик крапка mailru
        """,
    Wake.KEY: """
        api апи token* токен* key keys ключ secret bearer sk ghp gho glpat xoxb xoxp akia asia aiza eyj begin hf npm pypi
        clé cle llave schlüs* chave chiave klucz anahtar khóa
        """,
    Wake.SEED: """
        seed seeds сид сидк* сид-фра* мнемон* mnemon* recovery phrase фраза фразу semilla восста* wiederh* récupé* recupe* recuper* odzysk* kurtarma
        """,
    Wake.TITLE: """
        mr mrs ms miss mister sir madam dr prof aunt auntie uncle grandma grandpa cousin coach
        господин* госпожа мистер мисс миссис тетя тётя тети тёти тете тёте тетю тётю тетей тётей дядя дяди дяде дядю дядей баба бабушк* дедушк* дед тёть теть дядь пан пані пана панові дядько тітка
        señor señora sr sra doña tío tia tía primo prima doctor
        monsieur madame mme mlle tonton tata tante oncle docteur
        herr herrn frau tante onkel opa oma
        senhor senhora seu dona tio tia signor signora sig zio zia
        pan pani pana panu panem panią państwo ciocia ciocię wujek wujka
        bey hanım bay bayan abi abla hoca amca teyze
        anh chị em cô chú bác bạn ông bà thầy cậu dì mợ thằng nhỏ tên bạn bé
        nguyễn trần lê phạm huỳnh hoàng phan vũ võ đặng bùi đỗ hồ ngô dương lý đinh trịnh đào đoàn lương nguyen tran pham huynh hoang ơi
        """,
}

CJK_TRIGGERS: dict[str, int] = {
    **dict.fromkeys(
        [
            "密码",
            "密碼",
            "路由器",
            "口令",
            "暗号",
            "提取码",
            "账号",
            "登录",
            "登陆",
            "密钥",
            "wifi",
            "WiFi",
            "WIFI",
            "无线",
        ],
        Wake.PASSWORD | Wake.USER | Wake.BANK,
    ),
    **dict.fromkeys(
        [
            "三位",
            "3位",
            "验证码",
            "驗證碼",
            "校验码",
            "动态码",
            "门禁",
            "门锁",
            "开机",
            "解锁",
            "锁屏",
            "行李箱",
            "储物柜",
            "车库",
            "保险柜",
            "保险箱",
            "安全码",
            "取件码",
            "码",
        ],
        Wake.CODE,
    ),
    **dict.fromkeys(
        [
            "身份证",
            "身份證",
            "通行证",
            "回乡证",
            "居住证",
            "护照",
            "驾照",
            "驾驶证",
            "社保",
            "医保",
            "税号",
            "纳税",
            "证件",
            "护照号",
        ],
        Wake.DOCUMENT,
    ),
    **dict.fromkeys(["卡号", "银行卡", "信用卡", "有效期", "账户", "帐号", "帐户", "钱包", "尾号"], Wake.BANK),
    **dict.fromkeys(
        ["座", "花园", "路", "街", "巷", "弄", "号", "道", "小区", "栋", "单元", "室", "地址", "楼"], Wake.ADDRESS
    ),
    **dict.fromkeys(["生日", "出生", "生于", "生於", "年生", "岁"], Wake.BIRTH),
    **dict.fromkeys(["微信", "微博", "用户名", "抖音", "小红书", "昵称", "QQ", "ID", "账号"], Wake.USER),
    **dict.fromkeys(["车牌", "京", "沪", "粤", "浙", "苏", "川"], Wake.PLATE),
    **dict.fromkeys(["邮箱", "邮件", "艾特", "圈a", "点"], Wake.MAIL),
    **dict.fromkeys(["助记词", "助記詞"], Wake.SEED),
}


def _triggers() -> tuple[dict[str, int], dict[str, int]]:
    words: dict[str, int] = {}
    prefixes: dict[str, int] = {}
    for wake, text in _WAKE.items():
        for word in text.replace("ё", "е").split():
            if word.endswith("*") and len(word) > PREFIX_LENGTH:
                prefix = word[:PREFIX_LENGTH]
                prefixes[prefix] = prefixes.get(prefix, 0) | wake
            else:
                word = word.rstrip("*")
                words[word] = words.get(word, 0) | wake
    return words, prefixes


TRIGGERS, TRIGGER_PREFIXES = _triggers()


@cache
def name_lines() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Return (language, kind, names) of each line of the name list; kind is m, f, u, last or given."""
    out = []
    for line in read_list("names.txt"):
        language, kind, *names = line.split()
        out.append((language, kind, tuple(names)))
    return tuple(out)
