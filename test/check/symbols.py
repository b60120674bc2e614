#!/usr/bin/env python3
"""symbols.py ROOT NM LIBRARY CC...: what others can see begins with ed_

That is every external symbol of the library's objects, and every macro, tag,
enumerator, type, variable and function that including the public headers
declares. Members and parameters are in scopes of their own.
"""
import pathlib
import re
import subprocess
import sys

import library

TOKEN = re.compile(r'[A-Za-z_]\w*|"(?:\\.|[^"\\])*"|\d[\w.]*|\S')


def preprocess(compiler, root, text, *options):
    return subprocess.run(
        [*compiler, '-std=c11', '-E', *options, '-I', root, '-x', 'c', '-'],
        input=text, check=True, stdout=subprocess.PIPE, text=True).stdout


def doors(root):
    return ''.join(f'#include "{root}/{name}"\n'
                   for name in library.doors(root))


def macros(compiler, root, text):
    return set(re.findall(r'^#define (\w+)',
                          preprocess(compiler, root, text, '-dM'), re.MULTILINE))


def own_macros(compiler, root, headers):
    """The macros that the headers define, without those of the system's."""
    system = [include for name in headers
              for include in library.includes(pathlib.Path(root, name))
              if include[0] == '<']
    without = ''.join(f'#include {include}\n' for include in system)
    with_ours = without + doors(root)
    return macros(compiler, root, with_ours) - macros(compiler, root, without)


def own_text(compiler, root):
    """The preprocessed lines that come from our headers."""
    is_ours = False
    for line in preprocess(compiler, root, doors(root)).splitlines():
        marker = re.match(r'# \d+ "(.*?)"', line)
        if marker:
            is_ours = marker[1].startswith(root)
        elif is_ours:
            yield line


def declared(tokens):
    """The names that a translation unit gets from these tokens."""
    depth = 0  # of all brackets
    enums = []  # depths inside of the enums that are open
    statement = []  # the tokens at depth 0 since the last ; or }
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else ''
        after = tokens[at + 1] if at + 1 < len(tokens) else ''
        is_name = re.match(r'[A-Za-z_]', token)
        if is_name and before in ('struct', 'union', 'enum') and after in '{;':
            yield token
        if is_name and enums and depth == enums[-1] and before in '{,':
            yield token
        if token in '{([':
            if token == '{' and 'enum' in tokens[max(0, at - 2):at]:
                enums.append(depth + 1)
            if depth == 0:
                statement.append(token)
            depth += 1
        elif token in '})]':
            if enums and depth == enums[-1]:
                enums.pop()
            depth -= 1
            if depth == 0:
                statement.append(token)
        elif depth == 0:
            statement.append(token)
        if depth == 0 and (token == ';' or is_end_of_function(statement)):
            yield from declarator(statement)
            statement = []


def is_end_of_function(statement):
    return statement[-3:] == [')', '{', '}']


def declarator(statement):
    """The name that a declaration at file scope declares, if any."""
    for name, after in zip(statement, statement[1:]):
        if re.match(r'[A-Za-z_]', name) and after in '([=;' \
                and name not in ('__attribute__', '_Static_assert'):
            return [name]
    return []


root, nm, archive, *compiler = sys.argv[1:]
headers = {name for door in library.doors(root)
           for name in library.with_all_it_includes(root, door)}
found_macros = own_macros(compiler, root, headers)
found_names = set(declared(TOKEN.findall('\n'.join(own_text(compiler, root)))))
assert {'ED_MS', 'EDDY_LOOP_LOOP_H'} <= found_macros
assert {'ed_loop', 'ed_loop_run', 'ED_READABLE', 'ed_timer_fn',
        'ed_list_append'} <= found_names

sys.exit(library.report(
    [f'{symbol.object}: {symbol.name} is external'
     for symbol in library.symbols(nm, archive)
     if symbol.kind.isupper() and symbol.kind != 'U'
     and not symbol.name.startswith('ed_')] +
    [f'macro {name} is visible to includers' for name in sorted(found_macros)
     if not name.startswith(('ED_', 'EDDY_'))] +
    [f'{name} is visible to includers' for name in sorted(found_names)
     if not name.startswith(('ed_', 'ED_'))]))
