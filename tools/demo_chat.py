"""Write the sample chats of the demo: `python tools/demo_chat.py > pipelines/demo_chat.json`.

Everyone and everything in it is invented. The container is Telegram Desktop's `result.json` of a whole account.
A line is one message: "<" is the other person, ">" the owner; a blank line is a silence of some days.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime, timedelta

OWNER = ("Sasha", "Reed", 700000001)

TOM = """
< morning! did the build pass?
> yep
> green since 8
> i restarted the flaky one though
< which one
> the upload test
> it hates mondays
< same
> coffee?
< in ten
> deal

< are you coming to the climbing gym tonight?
> yes!!
> leaving work at 6
< bring chalk please, mine is gone
> ok ok
> you owe me a banana
< always

< quick question about the parser
> shoot
< why does it keep the raw line
> so we can see what broke later
> i was burned once
> never again
< fair enough

< did you see my review?
> reading now
< take your time
> ok done
> two nits, rest is lovely
< thanks!
> the name on line 40 made me laugh
< which
> final_final_v2
< oops

> hey are you at the office?
< home today, plumber is here
> oh no
> leak again?
< yes, kitchen looks like a lake
> send photo
> no wait dont
> i just had lunch
< haha

< server is down
> which one
< the small one
> ugh looking
> disk full
> again
< logs?
> logs
> ok cleaned, up now
< you are fast
> i was scared

< can you send me the wifi password for the meeting room
> sure
> password is Maple-Rocket-77
< got it
> dont post it in the channel this time
< no promises

< happy birthday!!
> thank you!!
> cake at 4
< what kind
> carrot
> the good one
< i will run

< do you still have the drill?
> yep
> need it?
< saturday morning
> ok ok come by at 10
> i will make pancakes
< you know how to bribe people

< how was the talk?
> scary
> then fun
> nobody threw anything
< success then
> success
< slides?
> tomorrow, need to fix a typo
> it said pubic api
< nooo

< which laptop should i buy
> the boring one
> with lots of memory
< not the shiny?
> shiny breaks
> boring lives forever
< wise

< you awake?
> sadly
< deploy failed
> hmm
> roll back
> we look in the morning
< rolled back
> now sleep
< ok night
> night

< is the invoice from the caterer yours?
> nope
> ask lena
< her number?
> +44 7700 900461
< thanks

< movie on friday?
> yes!!
> which
< the one with the whale
> sold
> i get popcorn
< i get tickets

> hey small favour
< yes?
> can you feed the cat on the weekend
> keys are under the blue pot
< sure, what does she eat
> everything
> but mostly drama
< understood

< i think i broke the main branch
> breathe
> what did you do
< force push
> ok ok
> i have a copy
> give me five minutes
< you are my hero
> done
> buy me tea

< lunch?
> hmm
> noodles?
< always noodles
> they never disappoint
< 12:30
> deal

< my mail bounced, what is your new one
> sasha.reed@example.com
< thx
> old one is full of ads

< did you finish the book
> almost
> no spoilers!!
< the dog lives
> TOM
< sorry
> ok that makes me happy actually

< what time is the train
> 7:42
< that is early
> coffee on me
< then fine

< how do i exit vim
> you dont
< funny
> escape then :q!
> free at last

< status?
> half done
> the hard half
< eta
> thursday
> maybe wednesday if nobody talks to me
< not talking
> good

< i signed us up for the run
> which run
< ten km, in may
> tom
> i can run to the fridge
< we train on tuesdays
> ok ok
> but slow
< very slow

< are we still on for tuesday
> yep
> my legs say no
> but yes
< 7 at the bridge
> deal

< the demo is in an hour, nervous?
> a bit
> i tested it nine times
< ten is better
> running the tenth now
< good luck!!
> thanks!!
> it worked
< told you
"""

VERA = """
< привет, как дела?
> привет))
> норм, работаю
> а ты как?
< тоже работаю, устала
> держись
> скоро пятница))

< ты сегодня идёшь на скалодром?
> дааа
> в семь там
< я опоздаю минут на двадцать
> ок ок
> подожду с чаем))

< слушай, а как называлась та песня
> какая
< ну в машине играла
> ааа
> щас найду
> вот, скинула бы ссылку но лень))
> набери "дорожная" и первое
< нашла, спасибо!
> ура

< ты дома?
> не, в магазине
> что взять?
< молоко и хлеб
> ок ок
< и шоколадку
> так и знала))

> вера
> я потеряла ключи
< опять??
> опять
< посмотри в куртке
> в какой
< в зелёной
> НАШЛА
> ты волшебница
< я просто тебя знаю))

< мама спрашивает приедешь ли ты в субботу
> дааа
> после обеда
< она печёт пирог
> тогда до обеда))

< как прошло собеседование?
> хмм
> вроде хорошо
> спрашивали про деревья
< про какие деревья
> двоичные))
< а, я уж подумала про дуб
> дуб тоже двоичный если подумать

< скинь пожалуйста пароль от вайфая на даче
> щас
> пароль Sosna_2019_les
< спасибо!
> пожалуйста))

< у меня температура
> ой
> сильно?
< 38
> лежи
> чай с лимоном
> я привезу мандарины
< ты золото
> я мандарин))

< ну что, лучше тебе?
> это я должна спросить))
> тебе лучше?
< да, мандарины помогли
> ура
> наука победила

< смотри какой снег!
> вижу!!
> вышла без шапки как дура
< надень шапку
> ок ок мама))

< во сколько завтра встречаемся
> в десять?
< рано
> в одиннадцать?
< идеально
> соня))

< ты видела что тим написал
> не, что
< он бежит марафон
> ааа
> он и меня записал на десятку
< и ты согласилась??
> я мягкая))

< не могу выбрать платье
> покажи
< синее или зелёное
> зелёное
> глаза будут сиять
< решено
> обращайся))

< номер сантехника есть?
> есть
> 8 916 555-01-42
< спасибо, он дорогой?
> нормальный
> но любит поговорить про рыбалку))

< с днём рождения!!!
> спасибо!!
> обнимаю
< подарок вечером
> я уже жду))

< что делаешь
> смотрю как кот смотрит в стену
< и что там
> стена
> но он знает больше))

< поедем летом на море?
> дааа
> только не в июле
< почему
> жарко
> я растаю
< тогда в сентябре
> идеально

< ты спишь?
> нет))
> читаю
< про что
> про собаку которая жива
< не поняла
> длинная история))

< купила билеты!
> ура!!
< на семь вечера, шестой ряд
> ты лучшая
> с меня попкорн
< солёный
> обижаешь))

< как там бег
> ноги отвалились
> но я пробежала пять
< ого!!
> медленно
> меня обогнала бабушка
< бабушки быстрые
> очень))

< не забудь про врача завтра
> ок ок
> в девять да?
< в девять тридцать
> поставила будильник
> три))

< у нас свет выключили
> у нас тоже
> свечи есть?
< одна
> приходи, у меня пять
> и пирог
< бегу
"""

MUM = """
< Сашенька, ты покушала?
> мам привет
> да, суп
< Какой суп?
> грибной
> сама варила!!
< Молодец. Посолила?
> почти))

< Позвони бабушке, она скучает.
> ок ок
> вечером позвоню
< Не забудь.
> не забуду
> честно

< Как включить звук на телефоне?
> кнопка сбоку мам
> верхняя
< Нажала. Теперь он фотографирует.
> другая кнопка))
< Получилось!
> ура

< Саша, у вас холодно?
> не, норм
> топят
< Надень тёплые носки.
> уже надела
> твои
< Хорошо.

< Приедешь в воскресенье?
> дааа
> что привезти?
< Ничего не надо. Хлеб.
> ок ок хлеб

< Мне пишут что я выиграла телефон.
> мам не нажимай
> это мошенники
< Я так и подумала.
> умница
> код никому не говори

< Какой у тебя теперь адрес, хочу отправить банки
> улица Садовая 14, кв 7
< Записала. Огурцы и варенье.
> спасибо мам!!

< Ты доехала?
> дааа
> уже дома
> кот орёт))
< Покорми его.
> кормлю

< Что подарить папе?
> хмм
> удочку?
< У него четыре.
> пятую))
< Тогда рубашку.
> ок ок рубашку
> синюю

< Врач сказал всё хорошо.
> ура!!
> я так рада
< Сказал больше гулять.
> вот и гуляй
> проверю))

< Смотрела твоё выступление, ничего не поняла, но ты красивая.
> мам))
> это лучший отзыв
< Я записала на кассету.
> на что??
< На телефон.
> аа))
"""

CHATS = (("Tom Hale", 700000002, TOM), ("Вера Лисина", 700000003, VERA), ("Мама", 700000004, MUM))


def export() -> dict[str, object]:
    """Return the whole export. The same on every call."""
    draw = random.Random(7)
    owner = f"{OWNER[0]} {OWNER[1]}"
    chats = []
    message_id = 0
    for title, chat_id, text in CHATS:
        at = datetime(2024, 9, 2, 9, 0, tzinfo=UTC) + timedelta(hours=draw.randrange(9))
        messages = []
        for line in text.strip().splitlines():
            if not line.strip():
                at += timedelta(days=draw.randint(3, 12), minutes=draw.randrange(600))
                continue
            mine, words = line[0] == ">", line[2:].strip()
            at += timedelta(seconds=draw.choice((4, 7, 15, 40, 120, 600)))
            message_id += 1
            messages.append(
                {
                    "id": message_id,
                    "type": "message",
                    "date": at.strftime("%Y-%m-%dT%H:%M:%S"),
                    "date_unixtime": str(int(at.timestamp())),
                    "from": owner if mine else title,
                    "from_id": f"user{OWNER[2] if mine else chat_id}",
                    "text": words,
                    "text_entities": [{"type": "plain", "text": words}],
                }
            )
        chats.append({"name": title, "type": "personal_chat", "id": chat_id, "messages": messages})
    return {
        "about": "An invented account for the demo of clone. Nobody in it exists.",
        "personal_information": {
            "user_id": OWNER[2],
            "first_name": OWNER[0],
            "last_name": OWNER[1],
            "phone_number": "",
            "username": "",
            "bio": "",
        },
        "chats": {"about": "", "list": chats},
    }


if __name__ == "__main__":
    json.dump(export(), sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
