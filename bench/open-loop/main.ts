// The load generator as a process of its own: `node main.ts '{"port":…}'` prints what it saw as one line of JSON.
import { openLoop, type Target } from './generator.ts';

const target = JSON.parse(process.argv[2] ?? '') as Target;
process.stdout.write(`${JSON.stringify(await openLoop(target))}\n`);
