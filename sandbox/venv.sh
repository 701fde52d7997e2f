# Sourced by the programs in bin/: makes the virtual environments that they run in.

# Where what is downloaded or built once is kept.
export ENV_SYNC_CACHE=${ENV_SYNC_CACHE:-$HOME/.cache/env-sync}

# Prints the folder of a virtual environment with exactly the packages of the lock files, making it if
# need be: one folder per content of the lock files and per Python version. Progress goes to stderr.
#
# Usage: make_venv NAME LOCKFILE ...     The Python is $PYTHON, else python3: 3.11 or later.
make_venv() {
    local name=$1 python=${PYTHON:-python3} version hash venv
    shift
    version=$("$python" -c 'import sys; sys.version_info >= (3, 11) and print("%d.%d" % sys.version_info[:2])') || true
    if [[ -z $version ]]; then
        echo "Env Sync needs Python 3.11 or later: $python is older or not there. Name another with PYTHON=..." >&2
        return 1
    fi
    hash=$(cat -- "$@" | sha256sum | cut -c1-12)
    venv=$ENV_SYNC_CACHE/venv-$name-$hash-$version
    mkdir -p "$ENV_SYNC_CACHE"
    (
        flock 9
        # The note is written last: without it, an earlier start was broken off half-way.
        if [[ ! -e $venv/complete ]]; then
            echo "Making the virtual environment $venv ..." >&2
            rm -rf "$venv"
            # Not left to `set -e`, which does not hold inside $(make_venv ...).
            _new_venv "$python" "$venv" >&2 && _install "$venv" "$@" >&2 && touch "$venv/complete"
        fi
    ) 9>"$venv.lock" && echo "$venv"
}

# The virtual environment of the tests and of what checks the code.
make_test_venv() {
    make_venv test requirements.txt requirements/demo.txt requirements/test.txt
}

# An empty virtual environment; Debian keeps the part that puts pip into it in a package of its own.
_new_venv() { # PYTHON VENV
    "$1" -m venv "$2" && return
    if [[ $(id -u) == 0 ]] && command -v apt-get; then
        apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-venv
        rm -rf "$2"
        "$1" -m venv "$2" && return
    fi
    echo "$1 cannot make virtual environments. On Debian: apt-get install python3-venv" >&2
    return 1
}

# The lock files hold every package that is needed, so none is looked for: --no-deps; and the hashes of its files,
# so that nothing else is installed: --require-hashes. uv does in seconds what takes pip minutes, but pip will do;
# it also knows proxies that uv was not told of.
_install() { # VENV LOCKFILE ...
    local venv=$1 uv files=() file
    local options=(--quiet --no-deps --require-hashes --only-binary :all:)
    shift
    for file in "$@"; do
        files+=(-r "$file")
    done
    uv=$venv/uv.txt
    awk '/^[^ #]/ { wanted = /^uv==/ } wanted' "$@" >"$uv"
    if [[ -s $uv ]] && "$venv/bin/python" -m pip install --disable-pip-version-check "${options[@]}" -r "$uv" &&
        "$venv/bin/uv" pip install --python "$venv/bin/python" "${options[@]}" "${files[@]}"; then
        return
    fi
    echo "uv could not install the packages: trying pip, which takes a few minutes ..."
    "$venv/bin/python" -m pip install --disable-pip-version-check "${options[@]}" "${files[@]}"
}
