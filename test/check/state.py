#!/usr/bin/env python3
"""state.py NM LIBRARY: no global state

Nothing in the library's objects is both static or global and writable. Tables
that are const, but hold addresses, count as const (.data.rel.ro).
"""
import sys

import library

nm, archive = sys.argv[1:]
sys.exit(library.report(
    [f'{symbol.object}: {symbol.name} can be written to ({symbol.section})'
     for symbol in library.symbols(nm, archive)
     if symbol.kind in 'bBdDsSgGC'
     and not symbol.section.startswith('.data.rel.ro')]))
