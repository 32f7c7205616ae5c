import { parseArgs } from 'node:util';
import { readLauncherConfig } from './config.ts';
import { Mesh } from './mesh/mesh.ts';

const HELP = `npm start [-- options]: runs the mesh in the foreground; Ctrl-C drains and stops it.

  --help   this text

One process each: nats-server (JetStream), registry, balancer, trainer, a trainer worker, prompt, gateway;
text-inference replicas are started by the balancer for each deployment. What dies is started anew.

Environment:
  LANDFALL_HOME            state folder: databases, artifacts, logs, keys (default ./.landfall)
  LANDFALL_GATEWAY_PORT    port of the gateway on 127.0.0.1 (default 8080; 0 picks a free one)
  LANDFALL_DATABASE_URL    PostgreSQL instead of SQLite files, postgres://user:password@host:port/database
  LANDFALL_NATS_URL        a broker that already runs, nats://host:port; otherwise one is started
  LANDFALL_IMPORT_ROOT     folder that ImportModel may read (default deploy/demo)
  LANDFALL_LOG_LEVEL       fatal, error, warn, info (default), debug, trace
  OTEL_*                   OpenTelemetry's own variables, for traces and metrics over OTLP

Once ready it prints: ready {"gateway":"http://127.0.0.1:PORT","apiKey":"...","nats":"nats://127.0.0.1:PORT"}`;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { help: { type: 'boolean' } } });
  if (values.help) {
    process.stdout.write(`${HELP}\n`);
    return;
  }
  const mesh = new Mesh(readLauncherConfig());
  mesh.on('ready', (name) => process.stderr.write(`${name} answers\n`));
  mesh.on('exit', (name, code, signal) => {
    process.stderr.write(
      `${name} ended (${signal ?? code}) and is started anew; see ${mesh.home.logFile(name)}\n`,
    );
  });
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  const address = await Promise.race([mesh.start(), stopped]);
  if (address) {
    process.stdout.write(`ready ${JSON.stringify(address)}\n`);
    await stopped;
  }
  process.stderr.write('draining\n');
  await mesh.stop();
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
