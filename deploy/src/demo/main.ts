import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { readLauncherConfig } from '../config.ts';
import { connectMesh, type MeshClients } from './clients.ts';
import { deployInspector, inspectPieces } from './inspections.ts';
import { LauncherProcess } from './launcher-process.ts';
import { ModelReadySubscriber } from './model-events.ts';
import { type DemoResult, Steps } from './result.ts';
import { Screen } from './screen.ts';
import * as mesh from './steps.ts';

const HELP = `npm run demo [-- options]: from a base model and a data file to a tuned model that answers.

  --keep   leaves the mesh running and says how to stop it
  --help   this text

State lies in LANDFALL_HOME/demo (default ./.landfall/demo) and is made anew each time. The last line on standard
output is the result as JSON; progress is on standard error.`;

const QUESTIONS = [
  '高血压患者日常饮食需要注意什么?',
  '经常失眠的人睡前可以做些什么?',
  '感冒发烧的时候应该怎么护理?',
];
const STEPS = 8;

async function run(
  launcher: LauncherProcess,
  home: string,
  steps: Steps,
  screen: Screen,
): Promise<DemoResult> {
  const { gateway, apiKey, nats } = launcher.address;
  const clients: MeshClients = connectMesh(gateway, apiKey);
  const subscriber = await steps.run('subscribe', () => ModelReadySubscriber.open(nats));
  try {
    screen.step(1, STEPS, 'import the base model and serve it with two replicas');
    const base = await steps.run('import', () => mesh.importBase(clients, screen));
    await steps.run('deploy-base', () => mesh.deploy(clients, 'base', base, screen));

    screen.step(2, STEPS, 'upload the data, ask which method fits, train');
    const [train, validation] = await steps.run('upload', async () => [
      await mesh.uploadDataset(clients, 'medical-qa-train', 'medical_qa_train.json', screen),
      await mesh.uploadDataset(clients, 'medical-qa-val', 'medical_qa_val.json', screen),
    ]);
    const started = await steps.run('recommend', () =>
      mesh.startJob(clients, base, train!, validation!, screen),
    );
    const job = await steps.run('train-evaluate-register', () => mesh.followJob(clients, started.id, screen));

    screen.step(3, STEPS, 'what the job measured and registered');
    const bleu = { base: job.baseResult!.bleu, tuned: job.tunedResult!.bleu };
    screen.line(
      `  BLEU on ${job.tunedResult!.rows} validation rows: base ${bleu.base.toFixed(2)}, tuned ${bleu.tuned.toFixed(2)}`,
    );
    screen.line(`  ${job.tunedResult!.bleuSignature}`);
    await steps.run('lineage', async () => {
      const [name, version] = job.outputVersion.replace('models:/', '').split('/') as [string, string];
      const { edges } = await clients.registry.getLineage({ name, version });
      for (const edge of edges) screen.line(`  ${edge.from} —${edge.relation}→ ${edge.to}`);
    });

    screen.step(4, STEPS, 'the event, as a NATS subscriber reads it');
    const event = await steps.run('model-ready', () =>
      subscriber.next((e) => e.ref === job.outputVersion, AbortSignal.timeout(30_000)),
    );
    screen.line(`  landfall.registry.model.ready.v1 ${JSON.stringify(event)}`);

    screen.step(5, STEPS, 'deploy the tuned version on the replicas that serve its base');
    const deployment = await steps.run('deploy-tuned', () =>
      mesh.deploy(clients, mesh.TUNED_MODEL, job.outputVersion, screen),
    );
    const prompts = await steps.run('create-prompts', () => mesh.createPrompts(clients, screen));
    const [consultation, stepByStep] = prompts as [string, string];
    const first = await steps.run('first-answer', async () => {
      const askedAt = Date.now();
      const answer = await mesh.invoke(clients, consultation, mesh.TUNED_MODEL, { question: QUESTIONS[0]! });
      return (askedAt + answer.firstTextMs - timestampMs(job.endTime!)) / 1000;
    });
    screen.line(`  ${first.toFixed(2)} s from the job's end to the first answer`);

    screen.step(6, STEPS, 'base and tuned answers side by side');
    const answers = await steps.run('answers', async () => {
      const rows: DemoResult['answers'] = [];
      for (const question of QUESTIONS) {
        for (const name of [consultation, stepByStep]) {
          const [baseAnswer, tunedAnswer] = await Promise.all([
            mesh.invoke(clients, name, 'base', { question }),
            mesh.invoke(clients, name, mesh.TUNED_MODEL, { question }),
          ]);
          screen.line(`  ${question}  (${name})`);
          screen.line(`    base   ${baseAnswer.text.replaceAll('\n', ' ')}`);
          screen.line(`    tuned  ${tunedAnswer.text.replaceAll('\n', ' ')}`);
          if (name === consultation) rows.push({ question, base: baseAnswer.text, tuned: tunedAnswer.text });
        }
      }
      return rows;
    });
    screen.step(7, STEPS, 'inspect three surfaces with a model that sees');
    await steps.run('deploy-inspector', () => deployInspector(clients, screen));
    const inspections = await steps.run('inspect', () =>
      inspectPieces(clients, join(home, 'inspections'), screen),
    );
    return {
      ok: true,
      steps: steps.done,
      bleu,
      secondsFromJobEndToFirstAnswer: Math.round(first * 1000) / 1000,
      replicas: deployment.endpoints.length,
      modelReadyEvents: subscriber.events.filter((e) => e.ref === job.outputVersion).length,
      answers,
      inspections,
    };
  } finally {
    await subscriber.close();
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { keep: { type: 'boolean' }, help: { type: 'boolean' } } });
  if (values.help) {
    process.stdout.write(`${HELP}\n`);
    return;
  }
  const config = readLauncherConfig({
    ...process.env,
    LANDFALL_GATEWAY_PORT: process.env.LANDFALL_GATEWAY_PORT ?? '0',
  });
  const home = resolve(config.home, 'demo');
  const screen = new Screen();
  const steps = new Steps();
  screen.line(`starting the mesh; its state and logs lie in ${join(home, '')}`);
  const launcher = await steps.run('start-mesh', async () => {
    rmSync(home, { recursive: true, force: true });
    const env = { ...config.environment, LANDFALL_GATEWAY_PORT: String(config.gatewayPort) };
    return LauncherProcess.start(home, env, () => {});
  });
  // The demo's mesh ends with the demo, however that ends.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void launcher.stop().then(() => process.exit(130)));
  }
  let result: DemoResult;
  try {
    result = await run(launcher, home, steps, screen);
  } catch (error) {
    await launcher.stop();
    throw error;
  }
  screen.step(8, STEPS, values.keep ? 'the mesh goes on' : 'stop');
  if (values.keep) {
    const { gateway, nats } = launcher.address;
    screen.line(`  gateway ${gateway}  nats ${nats}  API key in ${join(home, 'first.key')}`);
    screen.line(`  stop it with: kill ${launcher.pid}`);
    launcher.leave();
  } else {
    await steps.run('stop', () => launcher.stop());
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

main().catch((error: Error) => {
  process.stderr.write(`\n${error.message}\n`);
  process.stdout.write(`${JSON.stringify({ ok: false, error: error.message })}\n`);
  process.exitCode = 1;
});
