// test/bench/read.js - what reads.c measures, with fs.readFile
//
//     node read.js DIRECTORY FILES SIZE UNDER_WAY
//
// Prints how many files were read in a second and how many microseconds of CPU
// time each took.
'use strict';

const fs = require('fs');

const directory = process.argv[2];
const [files, size, underWay] = process.argv.slice(3).map(Number);
const paths = Array.from({length: files}, (_, i) => `${directory}/${i}`);

const warmUpNs = 200e6;
const lapNs = 300e6;

let next = 0;
let count, begin, beginCpu;
let isWarm = false;
let isOver = false;

function startClocks() {
  count = 0;
  beginCpu = process.cpuUsage();
  begin = process.hrtime.bigint();
}

function check(number, data) {
  if (data.length !== size || data.readInt32LE(0) !== number ||
      data.readInt32LE(size - 4) !== number)
    throw new Error(`file ${number} was read wrongly`);
}

function lookAtTheClock() {
  const passedNs = Number(process.hrtime.bigint() - begin);
  if (passedNs < (isWarm ? lapNs : warmUpNs))
    return;
  if (!isWarm) {
    isWarm = true;
    startClocks();
    return;
  }
  isOver = true;
  const {user, system} = process.cpuUsage(beginCpu);
  console.log(count / passedNs * 1e9, (user + system) / count);
}

function readOne() {
  const number = next++ % files;
  fs.readFile(paths[number], (error, data) => {
    if (error)
      throw error;
    check(number, data);
    if (++count % 16 === 0 && !isOver)
      lookAtTheClock();
    if (!isOver)
      readOne();
  });
}

startClocks();
for (let i = 0; i < underWay; i++)
  readOne();
