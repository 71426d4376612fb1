# A browser for the tests of the web page: Debian's Chromium where there is none and apt may install it. Never fails:
# without a browser those tests say that they were skipped (where CI is set, they fail).
set -u
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing Chromium for the tests of the web page."
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) \
        >/dev/null 2>&1 || echo "Chromium could not be installed; the tests of the web page will be skipped."
else
    echo "No Chromium here (apt-get install chromium); the tests of the web page will be skipped."
fi
