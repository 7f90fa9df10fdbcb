// Node's timers in real time; see ticks.h. Each is set anew for its next point.
// Arguments: timers, intervals in ms "10,20", hold in ms, span in ms.
'use strict';

const [timers, intervalsText, hold, span] = process.argv.slice(2);
const intervals = intervalsText.split(',').map(Number);
const begin = performance.now() + Number(hold);
const late = [];
let cpu = null;

function set(due, interval) {
    setTimeout(tick, Math.ceil(due - performance.now()), due, interval);
}

function tick(due, interval) {
    if (cpu === null)
        cpu = process.cpuUsage();
    late.push(performance.now() - due);
    set(due + interval, interval);
}

function end() {
    const used = process.cpuUsage(cpu);
    const ns = ms => Math.round(1e6 * ms);
    late.sort((a, b) => a - b);
    console.log(JSON.stringify({
        ticks: late.length, cpu_ns: 1000 * (used.user + used.system), p50: ns(late[Math.floor(late.length / 2)]),
        p99: ns(late[Math.floor(late.length * 99 / 100)]), max: ns(late[late.length - 1]),
        early: late.filter(ms => ms < -0.001).length, earliest: Math.max(0, ns(-late[0])),
    }));
    process.exit(0);
}

for (let i = 0; i < Number(timers); i++) {
    const interval = intervals[i % intervals.length];
    set(begin + i * 0.6180339887498949 % 1 * interval, interval);
}
setTimeout(end, Math.ceil(begin + Number(span) - performance.now()));
if (performance.now() >= begin) {
    console.error('the timers were not set before the load began');
    process.exit(1);
}
