# Build the wheel, install it alone in a clean environment, and ask it for help from another folder.
set -eu
room="$(mktemp -d)"
trap 'rm -rf "$room"' EXIT
"$BIN/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$room" .
"$BIN/python" -m venv "$room/env"
"$room/env/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt "$room"/clone-*.whl
cd "$room"
env/bin/clone --help
env/bin/clone --version
