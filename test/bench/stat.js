// test/bench/stat.js - what stats.c measures, with fs.stat
//
//     node stat.js DIRECTORY FILES UNDER_WAY
//
// Prints how many files were looked at in a second and how many microseconds of
// CPU time each took.
'use strict';

const fs = require('fs');

const directory = process.argv[2];
const [files, underWay] = process.argv.slice(3).map(Number);
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

function statOne() {
  const number = next++ % files;
  fs.stat(paths[number], (error, stats) => {
    if (error)
      throw error;
    if (stats.size !== number)
      throw new Error(`file ${number} has a wrong size`);
    if (++count % 16 === 0 && !isOver)
      lookAtTheClock();
    if (!isOver)
      statOne();
  });
}

startClocks();
for (let i = 0; i < underWay; i++)
  statOne();
