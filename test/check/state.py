#!/usr/bin/env python3
"""state.py NM LIBRARY: no global state

Nothing in the library's objects is both static or global and writable, but for
what the system itself has once in a process. Tables that are const, but hold
addresses, count as const (.data.rel.ro).
"""
import sys

import library

# (object, symbol): why it cannot belong to a loop
OF_THE_PROCESS = {
    ('loop_signal.c.o', 'shared_signals'):
        'a signal has one disposition, for all loops and threads',
    ('loop_terminal.c.o', 'raw_terminal'):
        'a terminal has one mode, and a signal handler must find how it was',
}

nm, archive = sys.argv[1:]
writable = {(symbol.object, symbol.name): symbol.section
            for symbol in library.symbols(nm, archive)
            if symbol.kind in 'bBdDsSgGC'
            and not symbol.section.startswith('.data.rel.ro')}
sys.exit(library.report(
    [f'{object}: {name} can be written to ({section})'
     for (object, name), section in writable.items()
     if (object, name) not in OF_THE_PROCESS] +
    [f'{object}: {name} is not there, or need not be excepted'
     for object, name in OF_THE_PROCESS if (object, name) not in writable]))
