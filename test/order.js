/*
 * test/order.js - the schedules of order.c, run by Node
 *
 * A line on standard input is a schedule, in the notation that order.c
 * describes. Answered with a line: the labels of the callbacks as they came.
 * A schedule has ended when Node says that nothing keeps its loop alive.
 *
 * The lines are read while nothing else goes on, and blocking, so that the loop
 * holds nothing but what the schedule asked for.
 */
'use strict';

const fs = require('fs');

// A timer is due when the loop's time in whole milliseconds has grown by its
// delay. That time may come from a clock that moves in steps of 1 ms.
const SHORT_MS = 1;
const SHORT_IS_DUE_MS = 2.2;
// From a byte seen in the buffer to the completion in the loop's queue.
const READ_IS_POSTED_MS = 0.2;

const file = fs.openSync(__filename);
let trace = '';
let unrefd = [];
let settledAt = 0;
let unsettledReads = [];

function blockUntil(ms) {
  while (performance.now() < ms);
}

/* Until short timers are due, and reads done. See order.c. */
function settle() {
  for (const byte of unsettledReads) {
    while (Atomics.load(byte, 0) === 0);
    settledAt = Math.max(settledAt, performance.now() + READ_IS_POSTED_MS);
  }
  unsettledReads = [];
  blockUntil(settledAt);
}

function startTimer(call) {
  const timer = setTimeout(run, call.ms, call);
  if (call.ms <= SHORT_MS)
    settledAt = Math.max(settledAt, performance.now() + SHORT_IS_DUE_MS);
  return timer;
}

const start = {
  tick: (call) => process.nextTick(run, call),
  immediate: (call) => setImmediate(run, call),
  timer: (call) => startTimer(call),
  unref: (call) => unrefd.push(startTimer(call).unref()),
  busy: (call) => blockUntil(performance.now() + call.ms),
  // A worker puts the first byte of this file, which is not 0, where it can be
  // seen before the callback comes.
  task: (call) => {
    const byte = Buffer.alloc(1);
    fs.read(file, byte, 0, 1, 0, () => run(call));
    unsettledReads.push(byte);
  },
};

function run(call) {
  trace += call.label;
  for (const child of call.children)
    start[child.kind](child);
  settle();
}

function parse(text) {
  const tokens = text.match(/[()]|[^\s()]+/g);
  const parseCalls = () => {
    const calls = [];
    while (tokens.length && tokens[0] !== ')') {
      const [, label, kind, ms] = tokens.shift().match(/^(.):([a-z]+)(\d*)$/);
      const call = { label, kind, ms: Number(ms), children: [] };
      if (tokens[0] === '(') {
        tokens.shift();
        call.children = parseCalls();
        tokens.shift();
      }
      calls.push(call);
    }
    return calls;
  };
  return parseCalls()[0];
}

function say(line) {
  fs.writeSync(1, line + '\n');
}

/* A line is written at once and the next not before the answer. */
function readLine() {
  const buffer = Buffer.alloc(4096);
  const length = fs.readSync(0, buffer);
  return buffer.toString('latin1', 0, length).trim();
}

function startNext() {
  const line = readLine();
  if (!line)
    process.exit(0);
  trace = '';
  const root = parse(line);
  start[root.kind](root);
}

say('ready ' + process.version);
process.once('beforeExit', () => {
  startNext();
  process.on('beforeExit', () => {
    unrefd.forEach(clearTimeout);
    unrefd = [];
    say(trace);
    startNext();
  });
});
