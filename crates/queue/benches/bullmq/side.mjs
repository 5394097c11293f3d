// BullMQ's side of the comparison in crates/queue/benches/bullmq.rs: takes commands as lines of JSON on standard input and
// answers each with a line of JSON. Times are taken here, around BullMQ's own calls.
//
// Everything that BullMQ leaves to be tuned is an argument, and the comparison chooses what suits it best.

import { createInterface } from 'node:readline';
import { Queue, QueueEvents, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const port = Number(process.argv[2]);

// As its production guide says: completed jobs are removed by age and count; here as many are kept as in a Sluice queue.
const jobOptions = { removeOnComplete: { age: 3600, count: 10_000 }, attempts: 8, backoff: { type: 'exponential', delay: 1000 } };

const connect = (autoPipelining) =>
  new Redis({ port, maxRetriesPerRequest: null, enableAutoPipelining: autoPipelining });

async function withQueue({ queue, autoPipelining }, use) {
  const connection = connect(autoPipelining);
  const opened = new Queue(queue, { connection, defaultJobOptions: jobOptions });
  await opened.waitUntilReady();
  try {
    return await use(opened);
  } finally {
    await opened.close();
    await connection.quit();
  }
}

const seconds = (begun) => (performance.now() - begun) / 1000;

const commands = {
  // `count` PINGs, each after the answer to the one before.
  ping: async (c) => {
    const connection = connect(false);
    await connection.ping();
    const begun = performance.now();
    for (let i = 0; i < c.count; i++) await connection.ping();
    const took = seconds(begun);
    await connection.quit();
    return took;
  },

  // `callers` callers add `jobs` jobs, each waiting for its answer before it adds the next one.
  one: (c) =>
    withQueue(c, async (queue) => {
      let next = 0;
      const caller = async () => {
        while (next < c.jobs) await queue.add('job', { n: next++ });
      };
      const begun = performance.now();
      await Promise.all(Array.from({ length: c.callers }, caller));
      return seconds(begun);
    }),

  // One caller adds `jobs` jobs, `chunk` at a time, with so many calls under way; `delay` ms before they are due.
  bulk: (c) =>
    withQueue(c, async (queue) => {
      let next = 0;
      const opts = c.delay ? { delay: c.delay } : undefined;
      const begun = performance.now();
      const caller = async () => {
        while (next < c.jobs) {
          const length = Math.min(c.chunk, c.jobs - next);
          const first = next;
          next += length;
          await queue.addBulk(Array.from({ length }, (_, i) => ({ name: 'job', data: { n: first + i }, opts })));
        }
      };
      await Promise.all([caller(), caller()]);
      return seconds(begun);
    }),

  // A worker completes `jobs` jobs that wait.
  drain: async (c) => {
    const connection = connect(c.autoPipelining);
    let done = 0;
    const worker = new Worker(c.queue, async () => null, {
      connection,
      concurrency: c.concurrency,
      autorun: false,
    });
    await worker.waitUntilReady();
    const begun = performance.now();
    await new Promise((resolve, reject) => {
      worker.on('error', reject);
      worker.on('completed', () => ++done === c.jobs && resolve());
      worker.run().catch(reject);
    });
    const took = seconds(begun);
    await worker.close();
    await connection.quit();
    return took;
  },

  // One caller adds a job ahead of all others and waits for its result, `samples` times, with a worker at hand.
  latency: (c) =>
    withQueue(c, async (queue) => {
      const connection = connect(c.autoPipelining);
      const events = new QueueEvents(c.queue, { connection: connect(false) });
      const starts = new Map();
      const worker = new Worker(
        c.queue,
        async (job) => {
          if (job.data.probe !== undefined) starts.set(job.data.probe, performance.now());
          return null;
        },
        { connection, concurrency: c.concurrency },
      );
      await Promise.all([worker.waitUntilReady(), events.waitUntilReady()]);
      const toStart = [];
      const toResult = [];
      for (let probe = 0; probe < c.samples; probe++) {
        const begun = performance.now();
        const job = await queue.add('job', { probe }, { lifo: true });
        await job.waitUntilFinished(events);
        toResult.push(performance.now() - begun);
        toStart.push(starts.get(probe) - begun);
      }
      await worker.close();
      await events.close();
      await connection.quit();
      return { toStart, toResult };
    }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  process.stdout.write(JSON.stringify(await commands[command.do](command)) + '\n');
}
process.exit(0);
