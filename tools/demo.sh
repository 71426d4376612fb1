# The four stages on invented chats, in the folder demo/. Called by `make demo`, with BIN set to the environment's bin.
set -eu
clone="$BIN/clone"
show() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }

rm -rf demo && mkdir demo && cd demo

show "clone collect --from ../pipelines/demo_chat.json"
"$clone" collect --from ../pipelines/demo_chat.json
show "clone prepare"
"$clone" prepare
show "clone finetune --base embedded"
"$clone" finetune --base embedded
for line in "are you coming tonight?" "did the build pass?"; do
    show "echo \"$line\" | clone chat --as \"Tom Hale\""
    echo "$line" | "$clone" chat --as "Tom Hale"
done
show "echo \"привет, как дела?\" | clone chat --as \"Вера Лисина\""
echo "привет, как дела?" | "$clone" chat --as "Вера Лисина"
show "clone status"
"$clone" status
