# The pictures of the docs, made anew from a finished demo (make demo):
#   SEED=10 sh tools/pictures.sh demo
# SEED chooses what the small base says: pseudonyms are drawn anew in each demo, so it is worth trying several. Needs tmux
# and Chromium; CLONE is the command, PYTHON the interpreter that has Playwright.
set -eu
workspace=$(cd "$1" && pwd)
repository=$(cd "$(dirname "$0")/.." && pwd)
images=$repository/docs/images
clone=${CLONE:-$repository/.venv/bin/clone}
python=${PYTHON:-$repository/.venv/bin/python}
seed=${SEED:-10}

# -- the terminal: what a person types, in a terminal of 80 columns
tmux="tmux -L clone-pictures"
trap '$tmux kill-server 2>/dev/null || true' EXIT
$tmux new-session -d -s talk -x 80 -y 38 -c "$workspace" \
    "COLORTERM=truecolor TERM=tmux-256color '$clone' chat --no-log --seed $seed --as 'Tom Hale'"
type_line() { $tmux send-keys -t talk -l "$1"; $tmux send-keys -t talk Enter; sleep "$2"; }
sleep 3
type_line "hey, are you coming tonight?" 5
type_line "did the build pass?" 3
type_line "/why" 1
type_line "are you a bot?" 3
cd "$repository"
$tmux capture-pane -p -e -t talk | "$python" -m tools.terminal_picture "$images/terminal.svg" "clone chat"

# -- the page
cd "$workspace"
"$clone" serve --port 8799 --quiet --set "chat.seed=$seed" &
server=$!
trap 'kill $server 2>/dev/null; $tmux kill-server 2>/dev/null || true' EXIT
for _ in 1 2 3 4 5 6 7 8 9 10; do curl -sf http://127.0.0.1:8799/healthz >/dev/null && break; sleep 1; done
cd "$repository"
"$python" -m tools.screenshots http://127.0.0.1:8799 "$images"
