#!/usr/bin/env python3
"""summary.py STEPS LOG...: adds up what passed and what failed

STEPS has a line for each step, "passed NAME" or "failed NAME". A LOG is one of
meson's, in JSON: a line for each program. A program that speaks TAP counts as
as many tests as it has told of; one that ended badly and told of no failure, or
is skipped without saying why, counts as one failure more.
"""
import json
import pathlib
import re
import sys

GOOD = ('OK', 'EXPECTEDFAIL')


def outcomes(run):
    """(passed, name) for each test of a program that was run."""
    name, output = run['name'], run.get('stdout', '')
    if run['result'] == 'SKIP' and 'SKIP' in output:
        return
    points = re.findall(r'^(not ok|ok)\b(.*)$', output, re.MULTILINE)
    for verdict, rest in points:
        if '# SKIP' not in rest:
            yield verdict == 'ok', name + rest
    if run['result'] not in GOOD:
        if all(verdict == 'ok' for verdict, _ in points):
            yield False, f'{name}: {run["result"]}'
    elif not points:
        yield True, name


def log_outcomes(log):
    configuration = log.parent.parent.name + log.stem[len('testlog'):]
    runs = log.read_text().splitlines() if log.exists() else []
    if not runs:
        yield False, f'{configuration}: no test was run'
    for run in runs:
        for passed, name in outcomes(json.loads(run)):
            yield passed, f'{configuration}: {name}'


steps, *logs = map(pathlib.Path, sys.argv[1:])
found = [(line.startswith('passed'), line.split(' ', 1)[1])
         for line in steps.read_text().splitlines()]
for log in logs:
    found += log_outcomes(log)
failed = [name for passed, name in found if not passed]
for name in failed:
    print('failed:', name)
print(f'{len(found) - len(failed)} passed, {len(failed)} failed')
sys.exit(bool(failed) or not found)
