#!/usr/bin/env python3
"""layers.py ROOT NM LIBRARY: a module uses those below it, by their doors

The arrows between the modules are in library.py. They hold for what a file
includes and for what its object calls. Of another module a file may include the
header named like the folder, and those that this one includes; the others are
internal.
"""
import sys

import library


def includes(root):
    open_to_all = {name for door in library.doors(root)
                   for name in library.with_all_it_includes(root, door)
                   if name.split('/')[0] == door.split('/')[0]}
    for module, path in library.sources(root, '*.[ch]'):
        for include in library.includes(path):
            name = include[1:-1]
            other = name.split('/')[0]
            if include[0] == '<':
                if other in library.MAY_USE or name == 'eddy.h':
                    yield f'{path}: {include} is not the system\'s'
            elif other not in library.MAY_USE:
                yield f'{path}: {include} is not written from the root'
            elif other not in library.MAY_USE[module]:
                yield f'{path}: {module} may not include {include}'
            elif other != module and name not in open_to_all:
                yield f'{path}: {include} is internal to {other}'


def calls(symbols):
    homes = {symbol.name: symbol.module for symbol in symbols
             if symbol.kind.isupper() and symbol.kind != 'U'}
    for symbol in symbols:
        if symbol.kind != 'U' or not symbol.name.startswith('ed_'):
            continue
        home = homes.get(symbol.name)
        if home is None:
            yield f'{symbol.object}: {symbol.name} is nowhere defined'
        elif home not in library.MAY_USE[symbol.module]:
            yield f'{symbol.object}: {symbol.module} may not use {symbol.name}'


root, nm, archive = sys.argv[1:]
sys.exit(library.report([*includes(root),
                         *calls(library.symbols(nm, archive))]))
