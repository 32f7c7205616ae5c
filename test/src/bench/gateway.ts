import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { AuditLog, DURABILITIES, type Durability } from '@landfall/gateway/audit/audit-log.ts';
import { type AuditRecord, sha256 } from '@landfall/gateway/audit/chain.ts';
import { CheckpointSigner } from '@landfall/gateway/audit/checkpoint.ts';
import { DEFAULT_TYPES } from '@landfall/masking/mask.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { GatewayProcesses, processorMs } from './gateway-processes.ts';
import { median, quantile, type Report, UsageError } from './report.ts';
import { SlowClients } from './slow-clients.ts';

type Call = () => Promise<unknown>;

/** A kind of call, and the process between its caller and the service, whose processor time is told. */
interface Way {
  call: Call;
  pid?: number;
}

/** A KiB of a question in two languages, without anything that a policy would take. */
const QUESTION = '高血压患者日常饮食需要注意什么? Please answer briefly. '.repeat(20).slice(0, 700);
const STREAMS = 8;
const TOKENS = 200;
const TOKEN_EVERY_MS = 5;
/**
 * Calls before anything is measured: V8 interprets what it has rarely run, and a gateway that has just started takes
 * four times the processor time a call of one that has answered some thousands.
 */
const WARM_UP = { inFlight: 16, ms: 10_000 };
const PARTS = ['chat', 'connect', 'stream', 'slow', 'audit'];

/**
 * What the gateway costs with authentication, quota, masking, filter and audit log on: a chat of 1 KiB on the OpenAI
 * route over the direct gRPC call, a Connect call over a bare Connect forwarder, streams against the replica's own
 * pace, good calls beside slow connections, and lines of the audit log a second. Where other work shares the processors, read its own
 * processor time a call.
 */
export async function run(report: Report, args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '5' },
      ms: { type: 'string', default: '2000' },
      slow: { type: 'string', default: '500' },
      seconds: { type: 'string', default: '60' },
      part: { type: 'string' },
      profile: { type: 'string' },
      durability: { type: 'string', default: 'system' },
    },
  });
  const [rounds, ms] = [Number(values.rounds), Number(values.ms)];
  const { part } = values;
  if (part !== undefined && !PARTS.includes(part))
    throw new UsageError(`--part is one of: ${PARTS.join(', ')}`);
  const wanted = (name: string) => part === undefined || part === name;
  const profile = values.profile ? ['--cpu-prof', `--cpu-prof-dir=${values.profile}`] : [];
  await using mesh = await GatewayProcesses.start(profile, {
    LANDFALL_AUDIT_DURABILITY: values.durability,
  });
  const identity = { subject: 'service:bench', tenant: 'default', role: Role.ADMIN };
  await setContentPolicy(mesh);
  const channel = new RpcChannel(mesh.upstream, { signer: mesh.signer, identity });
  try {
    if (wanted('chat')) await withAgent((agent) => chat(report, mesh, channel, agent, rounds, ms));
    if (wanted('connect')) await connect(report, mesh, rounds, ms);
    if (wanted('stream')) await withAgent((agent) => streams(report, mesh, channel, agent));
    const [slow, slowMs] = [Number(values.slow), Number(values.seconds) * 1000];
    if (wanted('slow')) await withAgent((agent) => slowClients(report, mesh, agent, slow, slowMs));
  } finally {
    channel.close();
  }
  if (wanted('audit')) for (const durability of DURABILITIES) await auditLog(report, durability, ms);
}

/** Personal data is masked both ways, words are looked for by shape and sound, and attempts at injection. */
async function setContentPolicy({ url, apiKey }: GatewayProcesses): Promise<void> {
  const personal = [{ types: DEFAULT_TYPES, action: 'PERSONAL_DATA_ACTION_MASK' }];
  const words = {
    name: 'words',
    words: ['毒品', 'contraband'],
    homophones: true,
    action: 'FILTER_ACTION_REDACT',
  };
  const injection = { name: 'injection', injectionThreshold: 0.7, action: 'FILTER_ACTION_BLOCK' };
  const rule = {
    ...{ routes: ['*'], requests: personal, answers: personal },
    ...{ requestFilters: [words, injection], answerFilters: [words] },
  };
  const response = await fetch(`${url}/landfall.gateway.v1.ContentService/SetContentPolicy`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ policy: { rules: [rule] } }),
  });
  if (!response.ok) throw new Error(`the content policy was refused: ${await response.text()}`);
}

/** Connections of one part: those that lay idle through another may be closed by the server as they are used. */
async function withAgent(part: (agent: Agent) => Promise<void>): Promise<void> {
  const agent = new Agent({ keepAlive: true });
  try {
    await part(agent);
  } finally {
    agent.destroy();
  }
}

/** Alternates calls round by round, one in flight and then 16, so that a drift of the machine's speed meets all. */
async function compare(report: Report, ways: Record<string, Way>, rounds: number, ms: number) {
  const p50: Record<string, number> = {};
  for (const { call } of Object.values(ways)) await load(call, WARM_UP.inFlight, WARM_UP.ms);
  for (const inFlight of [1, 16]) {
    const samples: Record<string, Sample[]> = {};
    for (let round = 0; round < rounds; round++) {
      for (const [name, { call, pid }] of Object.entries(ways)) {
        samples[name] ??= [];
        samples[name].push(await load(call, inFlight, ms, pid));
      }
    }
    for (const [name, list] of Object.entries(samples)) {
      const middle = median(list.map((one) => one.p50));
      if (inFlight === 1) p50[name] = middle;
      report.figure(`${name}.p50-at-${inFlight}`, middle, 'ms');
      report.figure(`${name}.rate-at-${inFlight}`, median(list.map((one) => one.perSecond)), 'calls/s');
      const processor = list.flatMap((one) => one.processorMs ?? []);
      if (processor.length > 0)
        report.figure(`${name}.processor-at-${inFlight}`, median(processor), 'ms/call');
    }
  }
  return p50;
}

interface Sample {
  perSecond: number;
  p50: number;
  p99: number;
  /** Of the process between, a call. */
  processorMs?: number | undefined;
}

async function load(call: Call, inFlight: number, ms: number, pid?: number): Promise<Sample> {
  const latencies: number[] = [];
  const before = pid && processorMs(pid);
  const start = performance.now();
  const worker = async () => {
    while (performance.now() < start + ms) {
      const at = performance.now();
      await call();
      latencies.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const perSecond = (latencies.length * 1000) / (performance.now() - start);
  const after = pid && processorMs(pid);
  const used = after === undefined || before === undefined ? undefined : (after - before) / latencies.length;
  return { perSecond, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99), processorMs: used };
}

async function chat(
  report: Report,
  mesh: GatewayProcesses,
  channel: RpcChannel,
  agent: Agent,
  rounds: number,
  ms: number,
): Promise<void> {
  const replica = channel.client(TextInferenceService);
  const messages = [{ role: 'user', content: QUESTION }];
  const calls = {
    direct: {
      call: async () => {
        for await (const _ of replica.generate({ messages, sampling: { maxTokens: 1 } }));
      },
    },
    openai: {
      call: () => post(mesh, agent, { model: 'qa', messages, max_tokens: 1 }),
      pid: mesh.pids.gateway,
    },
  };
  const { direct, openai } = await compare(report, calls, rounds, ms);
  report.figure('chat.added-p50', openai! - direct!, 'ms');
}

async function connect(report: Report, mesh: GatewayProcesses, rounds: number, ms: number): Promise<void> {
  const authenticate: Interceptor = (next) => (request) => {
    request.header.set('authorization', `Bearer ${mesh.apiKey}`);
    return next(request);
  };
  const client = (baseUrl: string) =>
    createClient(
      RegistryService,
      createConnectTransport({ baseUrl, httpVersion: '2', interceptors: [authenticate] }),
    );
  const [bare, ours] = [client(mesh.forwarderUrl), client(mesh.url)];
  const calls = {
    forwarder: { call: () => bare.listModels({ pageSize: 10 }), pid: mesh.pids.forwarder },
    connect: { call: () => ours.listModels({ pageSize: 10 }), pid: mesh.pids.gateway },
  };
  const p50 = await compare(report, calls, rounds, ms);
  report.figure('connect.added-p50', p50.connect! - p50.forwarder!, 'ms');
}

/** Tokens a second over streams whose replica writes one every few milliseconds, and as fast as it can. */
async function streams(
  report: Report,
  mesh: GatewayProcesses,
  channel: RpcChannel,
  agent: Agent,
): Promise<void> {
  const replica = channel.client(TextInferenceService);
  const messages = [{ role: 'user', content: QUESTION }];
  for (const [name, topK, tokens] of [
    ['paced', TOKEN_EVERY_MS, TOKENS],
    ['unpaced', 0, 10 * TOKENS],
  ] as const) {
    const direct = async () => {
      for await (const _ of replica.generate({ messages, sampling: { maxTokens: tokens, topK } }));
    };
    const body = { model: 'qa', messages, max_tokens: tokens, top_k: topK, stream: true };
    const perSecond = async (stream: Call) => {
      const start = performance.now();
      await Promise.all(Array.from({ length: STREAMS }, stream));
      return (STREAMS * tokens * 1000) / (performance.now() - start);
    };
    const rates: [number[], number[]] = [[], []];
    for (let round = 0; round < 5; round++) {
      rates[0].push(await perSecond(direct));
      rates[1].push(await perSecond(() => post(mesh, agent, body)));
    }
    report.ratio(`stream-${name}`, median(rates[1]), median(rates[0]), 'tokens/s');
  }
}

/** The 99th percentile of good calls while hundreds of connections are as slow as they can be, against without. */
async function slowClients(
  report: Report,
  mesh: GatewayProcesses,
  agent: Agent,
  count: number,
  ms: number,
): Promise<void> {
  const failures = new Map<string, number>();
  const body = { model: 'qa', messages: [{ role: 'user', content: QUESTION }], max_tokens: 1 };
  // One that fails is told of and does not end the measurement.
  const call = () =>
    post(mesh, agent, body).catch(({ code, message }: NodeJS.ErrnoException) => {
      const why = code ?? message;
      failures.set(why, (failures.get(why) ?? 0) + 1);
    });
  const alone = await load(call, 4, ms / 4);
  using slow = new SlowClients(mesh.url, mesh.apiKey, count);
  const beside = await load(call, 4, ms);
  report.figure('slow.given-up', slow.closed, 'connections');
  for (const [why, calls] of failures) process.stderr.write(`${calls} good calls failed: ${why}\n`);
  report.figure(
    'slow.failed',
    [...failures.values()].reduce((sum, calls) => sum + calls, 0),
    'calls',
  );
  report.ratio('slow-p99', beside.p99, alone.p99, 'ms');
}

function post({ url, apiKey }: GatewayProcesses, agent: Agent, body: object): Promise<void> {
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      `${url}/v1/chat/completions`,
      { method: 'POST', headers, agent },
      (response) => {
        if (response.statusCode !== 200) reject(new Error(`the gateway answered ${response.statusCode}`));
        response.resume();
        response.once('end', resolve);
      },
    );
    request.once('error', reject);
    request.end(JSON.stringify(body));
  });
}

/** Lines that 64 callers get acknowledged, each written before the next of its caller, or on the disk. */
async function auditLog(report: Report, durability: Durability, ms: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'landfall-bench-'));
  try {
    const log = await AuditLog.open({
      ...{
        folder: join(folder, 'log/bench'),
        shard: 'bench',
        checkpointFile: join(folder, 'elsewhere.jsonl'),
      },
      ...{ signer: CheckpointSigner.open(join(folder, 'key.pem')), logger: createLogger('bench', 'error') },
      ...{ segmentBytes: 64 * 1024 * 1024, durability },
    });
    const digest = sha256('text');
    const record: AuditRecord = {
      ...{ id: '01998f2e-7d3b-7000-8000-0123456789ab', timeMs: Date.now(), kind: 'call', tenant: 'default' },
      ...{ subject: 'key:01998f2e-7d3b-7000-8000-0123456789ab', route: 'POST /v1/chat/completions' },
      ...{ method: 'landfall.text.v1.TextInferenceService/Generate', resource: 'models/qa', outcome: 'OK' },
      ...{ policy: '', request: digest, response: digest },
    };
    const { perSecond, p50 } = await load(() => log.append(record), 64, ms);
    const name = durability === 'disk' ? 'audit-on-disk' : 'audit';
    report.figure(`${name}.rate`, perSecond, 'entries/s');
    report.figure(`${name}.p50`, p50, 'ms');
    await log.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
