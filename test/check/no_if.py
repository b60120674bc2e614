#!/usr/bin/env python3
"""no_if.py ROOT: a system is a file

So no source has conditionals, but those that are a system, and a header has
one, its guard. The exception is loop/spin.h, which knows processors.
"""
import re
import sys

import library

SYSTEMS = ('loop/epoll.c', 'loop/linux.c', 'loop/kqueue.c', 'loop/posix.c',
           'fs/linux.c', 'fs/posix.c', 'fs/vnode.c')
CONDITION = re.compile(r'^[ \t]*#[ \t]*((?:if|ifdef|ifndef|elif)\b.*)', re.MULTILINE)
PROCESSOR = re.compile(
    r'(el)?if( (\|\| )?defined __(x86_64|i386|aarch64)__)+')


def guard(name):
    name = 'eddy.h' if name == 'fs/eddy.h' else 'eddy/' + name
    return 'ifndef ' + re.sub(r'\W', '_', name).upper()


def allowed(name, conditions):
    """How many of a file's conditions, from the first, may be there."""
    if name in SYSTEMS:
        return len(conditions)
    if name.endswith('.c') or conditions[:1] != [guard(name)]:
        return 0
    if name == 'loop/spin.h':
        return 1 + sum(bool(PROCESSOR.fullmatch(condition))
                       for condition in conditions[1:])
    return 1


root, = sys.argv[1:]
findings = []
for module, path in library.sources(root, '*.[ch]'):
    name = f'{module}/{path.name}'
    conditions = [condition.strip()
                  for condition in CONDITION.findall(path.read_text())]
    findings += [f'{name}: #{condition}'
                 for condition in conditions[allowed(name, conditions):]]
    if name.endswith('.h') and guard(name) not in conditions[:1]:
        findings.append(f'{name}: #{guard(name)} is missing')
sys.exit(library.report(findings))
