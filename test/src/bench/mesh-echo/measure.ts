import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { IDENTITY_KEY, IdentitySigner } from '@landfall/common/identity/signer.ts';
import { grpcDefinition } from '@landfall/common/rpc/definition.ts';
import { EchoRequestSchema, EchoService } from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';

export interface EchoFigures {
  /** Calls a second, the median of the rounds. */
  callsPerSecond: number;
  /** Milliseconds from call to answer. */
  p50Ms: number;
  p99Ms: number;
  /** Microseconds of the server's processor time for one call. */
  cpuMicros: number;
}

export interface EchoComparison {
  chassis: EchoFigures;
  bare: EchoFigures;
  /** Calls a second of the chassis' server over those of the bare one: median of the rounds' ratios. */
  ratio: number;
  /** The same by the servers' processor time, which other work on the machine disturbs less. */
  cpuRatio: number;
}

interface Round {
  calls: number;
  seconds: number;
  latenciesMs: number[];
  cpuMicros: number;
}

interface Peer {
  child: ChildProcess;
  call: () => Promise<void>;
  close: () => void;
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const quantile = (sorted: number[], q: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]!;

async function open(kind: 'chassis' | 'bare', key: Buffer): Promise<Peer> {
  const child = fork(join(import.meta.dirname, 'server-main.ts'), [kind, key.toString('hex')]);
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const { path, requestSerialize, responseDeserialize } = grpcDefinition(EchoService.method.echo);
  const request = create(EchoRequestSchema, { text: '高血压患者日常饮食需要注意什么?', number: 42n });
  const token = await new IdentitySigner(key).mint({
    subject: 'key:bench',
    tenant: 'bench',
    role: Role.VIEWER,
  });
  const call = () =>
    new Promise<void>((resolve, reject) => {
      // Both get the same headers, so that only what the server does with them differs.
      const metadata = new grpc.Metadata();
      metadata.set(IDENTITY_KEY, token);
      metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, metadata, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  return {
    child,
    call,
    close: () => {
      client.close();
      child.disconnect();
    },
  };
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send('cpu');
  const [{ cpu }] = (await once(child, 'message')) as [{ cpu: NodeJS.CpuUsage }];
  return cpu.user + cpu.system;
}

/** Keeps `inFlight` calls running for a while. */
async function round({ child, call }: Peer, inFlight: number, ms: number): Promise<Round> {
  const latenciesMs: number[] = [];
  const cpuBefore = await cpuOf(child);
  const start = performance.now();
  const caller = async () => {
    while (performance.now() - start < ms) {
      const sent = performance.now();
      await call();
      latenciesMs.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, caller));
  const seconds = (performance.now() - start) / 1000;
  return { calls: latenciesMs.length, seconds, latenciesMs, cpuMicros: (await cpuOf(child)) - cpuBefore };
}

function figures(rounds: Round[]): EchoFigures {
  const sorted = rounds.flatMap((r) => r.latenciesMs).sort((a, b) => a - b);
  return {
    callsPerSecond: median(rounds.map((r) => r.calls / r.seconds)),
    p50Ms: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
    cpuMicros: median(rounds.map((r) => r.cpuMicros / r.calls)),
  };
}

/**
 * A service of the mesh (identity, role, rules, traces and metrics on) against a bare grpc-js server that echoes the
 * same message, both in processes of their own and called by the same bare client, in rounds that take turns.
 */
export async function compareEcho(
  options: { rounds?: number; roundMs?: number; inFlight?: number } = {},
): Promise<EchoComparison> {
  const { rounds = 7, roundMs = 1500, inFlight = 32 } = options;
  const key = randomBytes(32);
  const chassis = await open('chassis', key);
  const bare = await open('bare', key);
  try {
    for (const peer of [chassis, bare]) await round(peer, inFlight, roundMs);
    const ours: Round[] = [];
    const theirs: Round[] = [];
    for (let i = 0; i < rounds; i++) {
      ours.push(await round(chassis, inFlight, roundMs));
      theirs.push(await round(bare, inFlight, roundMs));
    }
    const ratios = ours.map((r, i) => r.calls / r.seconds / (theirs[i]!.calls / theirs[i]!.seconds));
    const a = figures(ours);
    const b = figures(theirs);
    return { chassis: a, bare: b, ratio: median(ratios), cpuRatio: b.cpuMicros / a.cpuMicros };
  } finally {
    chassis.close();
    bare.close();
  }
}
