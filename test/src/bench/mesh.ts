import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import * as grpc from '@grpc/grpc-js';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { grpcDefinition } from '@landfall/common/rpc/definition.ts';
import { readLauncherConfig } from '@landfall/deploy/config.ts';
import { Mesh } from '@landfall/deploy/mesh/mesh.ts';
import { EchoRequestSchema, EchoService } from '@landfall/proto/landfall/mesh/v1/echo_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { median, quantile, type Report } from './report.ts';

/** One kind of call, made again and again. */
type Call = () => Promise<unknown>;

interface Sample {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

/** Calls with `inFlight` at once for a while. */
async function load(call: Call, inFlight: number, ms: number): Promise<Sample> {
  const latencies: number[] = [];
  const end = performance.now() + ms;
  const start = performance.now();
  const worker = async () => {
    while (performance.now() < end) {
      const at = performance.now();
      await call();
      latencies.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const seconds = (performance.now() - start) / 1000;
  return {
    perSecond: latencies.length / seconds,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}

/** Alternates two calls round by round, so that a drift of the machine's speed meets both. */
async function pair(a: Call, b: Call, rounds: number, ms: number): Promise<[Sample, Sample]> {
  const samples: [Sample[], Sample[]] = [[], []];
  for (const call of [a, b]) await load(call, 32, 1000);
  for (let round = 0; round < rounds; round++) {
    samples[0].push(await load(a, 32, ms));
    samples[1].push(await load(b, 32, ms));
  }
  const middle = (list: Sample[]): Sample => ({
    perSecond: median(list.map((s) => s.perSecond)),
    p50Ms: median(list.map((s) => s.p50Ms)),
    p99Ms: median(list.map((s) => s.p99Ms)),
  });
  return [middle(samples[0]), middle(samples[1])];
}

async function server(
  kind: 'chassis' | 'bare',
  keyFile: string,
): Promise<{ port: number; child: ChildProcess }> {
  const child = fork(join(import.meta.dirname, 'echo-server.ts'), [kind, keyFile], { stdio: 'inherit' });
  const [message] = (await once(child, 'message')) as [{ port: number }];
  return { port: message.port, child };
}

/**
 * An echo through the chassis (validation, identity, tracing on) against bare grpc-js, and a unary call of the
 * registry through the gateway against the same call straight to the service; 32 in flight each.
 */
export async function run(report: Report, args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { rounds: { type: 'string', default: '5' }, ms: { type: 'string', default: '2000' } },
  });
  const [rounds, ms] = [Number(values.rounds), Number(values.ms)];
  const folder = mkdtempSync(join(tmpdir(), 'landfall-bench-'));
  try {
    await echo(report, folder, rounds, ms);
    await gateway(report, folder, rounds, ms);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function echo(report: Report, folder: string, rounds: number, ms: number): Promise<void> {
  const keyFile = join(folder, 'key');
  writeFileSync(keyFile, 'a bench needs a key of thirty-two bytes at least', { mode: 0o600 });
  const signer = new IdentitySigner(readFileSync(keyFile));
  const [chassis, bare] = await Promise.all([server('chassis', keyFile), server('bare', keyFile)]);
  const identity = { subject: 'service:bench', tenant: 'bench', role: Role.VIEWER };
  const request = create(EchoRequestSchema, { text: 'x'.repeat(64), number: 7n });
  // One and the same bare client asks both, so that only the servers differ.
  const token = await signer.mint(identity);
  const metadata = new grpc.Metadata();
  metadata.set('landfall-identity', token);
  metadata.set('traceparent', `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`);
  const definition = grpcDefinition(EchoService.method.echo);
  const clients: grpc.Client[] = [];
  const caller = (port: number): Call => {
    const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    clients.push(client);
    return () =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          definition.path,
          definition.requestSerialize,
          definition.responseDeserialize,
          request,
          metadata,
          { deadline: Date.now() + 10_000 },
          (error, reply) => (error ? reject(error) : resolve(reply)),
        );
      });
  };
  const [ours, peer] = await pair(caller(chassis.port), caller(bare.port), rounds, ms);
  for (const [name, sample] of [
    ['echo', ours],
    ['bare', peer],
  ] as const) {
    report.figure(`${name}.rate`, sample.perSecond, 'calls/s');
    report.figure(`${name}.p50`, sample.p50Ms, 'ms');
    report.figure(`${name}.p99`, sample.p99Ms, 'ms');
  }
  report.ratio('service-over-bare', ours.perSecond, peer.perSecond, 'calls/s');
  for (const client of clients) client.close();
  for (const { child } of [chassis, bare]) {
    child.kill('SIGTERM');
    await once(child, 'exit');
  }
}

async function gateway(report: Report, folder: string, rounds: number, ms: number): Promise<void> {
  const home = join(folder, 'home');
  const environment = { ...process.env, LANDFALL_REQUESTS_PER_MINUTE: '100000000' };
  const mesh = new Mesh({
    ...readLauncherConfig({ LANDFALL_HOME: home, LANDFALL_GATEWAY_PORT: '0' }),
    environment,
  });
  const address = await mesh.start();
  try {
    const transport = createConnectTransport({
      baseUrl: address.gateway,
      httpVersion: '2',
      interceptors: [
        (next) => (request) => {
          request.header.set('authorization', `Bearer ${address.apiKey}`);
          return next(request);
        },
      ],
    });
    const through = createClient(RegistryService, transport);
    const signer = new IdentitySigner(readFileSync(mesh.home.meshKeyFile));
    const identity = { subject: 'service:bench', tenant: 'default', role: Role.VIEWER };
    const channel = new RpcChannel(`127.0.0.1:${mesh.ports.registry}`, { signer, identity });
    const direct = channel.client(RegistryService);
    const request = { pageSize: 10 };
    const [ours, peer] = await pair(
      () => through.listModels(request),
      () => direct.listModels(request),
      rounds,
      ms,
    );
    for (const [name, sample] of [
      ['gateway', ours],
      ['direct', peer],
    ] as const) {
      report.figure(`${name}.rate`, sample.perSecond, 'calls/s');
      report.figure(`${name}.p50`, sample.p50Ms, 'ms');
      report.figure(`${name}.p99`, sample.p99Ms, 'ms');
    }
    report.ratio('gateway-over-direct', ours.perSecond, peer.perSecond, 'calls/s');
    report.ratio('gateway-p50-over-direct', ours.p50Ms, peer.p50Ms, 'ms');
    channel.close();
  } finally {
    await mesh.stop();
  }
}
