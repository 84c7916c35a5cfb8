// h2spec against the side of the sidecar that speaks HTTP/2 with applications, and against node:http2 itself, which is what reads its frames: the
// sidecar never fails a case that node:http2 passes.
import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { isMissing, partPath } from './parts.ts';
import { ConformanceSidecar } from './sidecar.ts';

const folder = temporaryFolder('h2spec');
const cleanUps: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
afterAll(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

/**
 * What is no preface of HTTP/2 is HTTP/1.1 here, on the same port: it is answered 400 in that, and closed. RFC 9113, 3.4, leaves GOAWAY out where the
 * peer does not speak HTTP/2; h2spec takes the answer for a frame.
 */
const OURS = ['http2/3.5: Sends invalid connection preface'];
/** Of the 146; node:http2 passes 135. */
const MANY_CASES = 140;

interface Report {
  cases: number;
  /** "http2/5.1: …" */
  failed: string[];
}

async function h2spec(name: string, port: number): Promise<Report> {
  const file = join(folder, `${name}.xml`);
  await new Promise<void>((ended) => {
    // Its exit code says that some case failed, which the report says too.
    execFile(partPath('h2spec'), ['-h', '127.0.0.1', '-p', String(port), '-o', '3', '-j', file], () => ended());
  });
  return readReport(readFileSync(file, 'utf8'));
}

function readReport(xml: string): Report {
  const cases = [...xml.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*?(\/>|>([^]*?)<\/testcase>)/g)];
  const failed = cases
    .filter(([, , , , inside = '']) => /<(failure|error)/.test(inside))
    .map(([, group, name]) => `${group}: ${name}`);
  return { cases: cases.length, failed };
}

describe.skipIf(isMissing('h2spec'))('h2spec', { timeout: 300_000 }, () => {
  it('finds nothing wrong in the sidecar that is right in node:http2', async () => {
    const server = createServer();
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('error', () => {});
      stream.respond({ ':status': 200, 'content-type': 'text/plain' });
      stream.end('ok');
    });
    server.on('sessionError', () => {});
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    cleanUps.push(() => server.close());
    const { port } = server.address() as { port: number };
    const policy = { bulkhead: { maxConcurrent: 2_000 } };
    const sidecar = await ConformanceSidecar.start({
      service: { ports: [port], appProtocol: 'kubernetes.io/h2c', policy },
    });
    cleanUps.push(() => sidecar.stop());
    const direct = await h2spec('direct', port);
    const through = await h2spec('sidecar', sidecar.port('service'));
    console.info(`h2spec: ${direct.failed.length} fail with node:http2, ${through.failed.length} with the sidecar`);
    expect(direct.cases).toBeGreaterThan(MANY_CASES);
    expect(through.cases).toBe(direct.cases);
    expect(through.failed.filter((name) => !direct.failed.includes(name))).toEqual(OURS);
    await sidecar.untilIdle();
  });
});
