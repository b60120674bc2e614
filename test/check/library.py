"""What the checks know of the library: its modules, and the symbols in it."""
import pathlib
import re
import subprocess

# module: the modules that it may use
MAY_USE = {
    'loop': {'loop'},
    'pool': {'loop', 'pool'},
    'fs': {'loop', 'pool', 'fs'},
    'gc': {'loop', 'pool', 'gc'},
}


def sources(root, pattern):
    """The library's files whose name matches, as (module, path)."""
    for module in MAY_USE:
        for path in sorted((pathlib.Path(root) / module).glob(pattern)):
            yield module, path


def includes(path):
    """What a file includes, as written: "loop/list.h" or <stdint.h>."""
    return re.findall(r'^[ \t]*#[ \t]*include[ \t]*(["<].*[">])',
                      path.read_text(), re.MULTILINE)


def doors(root):
    """The names of the public headers: eddy.h and those that it includes."""
    listed = includes(pathlib.Path(root) / 'fs/eddy.h')
    return ['fs/eddy.h'] + [name[1:-1] for name in listed]


def with_all_it_includes(root, name):
    """The names of a header of ours and of all those of ours it includes."""
    found = [name]
    for header in found:
        for include in includes(pathlib.Path(root) / header):
            if include[0] == '"' and include[1:-1] not in found:
                found.append(include[1:-1])
    return found


class Symbol:
    """A row of nm. Kind is nm's letter: capital if other objects can see it."""

    def __init__(self, line):
        place, _, kind, _, _, _, section = line.split('|')
        self.object, self.name = place.split(':')[-2:]
        self.object = self.object.split('/')[-1].strip()
        self.module = self.object.split('_')[0]
        self.name = self.name.strip()
        self.kind = kind.strip()
        self.section = section.strip()


def symbols(nm, library):
    """All in the library's own objects; not the kqueue that the tests bring."""
    rows = subprocess.run([nm, '-A', '--format=sysv', library], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    found = [Symbol(line) for line in rows.splitlines() if line.count('|') == 6]
    found = [symbol for symbol in found if symbol.module in MAY_USE]
    assert found, f'no symbols in {library}'
    return found


def report(findings):
    """Prints what was found; the exit status."""
    for finding in findings:
        print(finding)
    return 1 if findings else 0
