import { flushCompileCache } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import { ConfigError } from '../config/env.ts';
import { type LifecycleConfig, readLifecycleConfig } from '../config/lifecycle-config.ts';
import { createLogger, type Logger } from '../log/logger.ts';

/** A service as its main knows it. */
export interface Service extends AsyncDisposable {
  /** Resolves when it answers; what it returns goes into its ready line. */
  start(): Promise<Record<string, unknown>>;
}

/** What disposing gets beyond the calls' own grace period before the process ends anyway. */
const DISPOSE_MS = 10_000;
const PARENT_POLL_MS = 500;

/**
 * Runs a service until SIGTERM or SIGINT: creates it, starts it, prints one line of JSON
 * (`{"ready":true,"service":...}`) on standard output (and sends it to a parent that listens), and disposes of it
 * when told to stop, even while it starts. The process ends by itself when nothing is left to do. A failed start, a
 * disposal that fails or hangs, and an unhandled rejection end it with code 1; a second signal ends it at once.
 */
export async function runService(name: string, create: () => Promise<Service>): Promise<void> {
  const config = lifecycleConfig(name);
  const logger = createLogger(name, config.logLevel);
  const die = (error: unknown, message: string): never => {
    logger.fatal({ err: error }, message);
    process.exit(1);
  };
  process.on('unhandledRejection', (error) => die(error, 'unhandled rejection'));
  process.on('uncaughtException', (error) => die(error, 'uncaught exception'));
  // A reader of the ready line that has gone is no reason to stop.
  process.stdout.on('error', () => {});
  const stopping = stopReason(config);

  let service: Service | undefined;
  try {
    service = await create();
    const started = service.start();
    const facts = await Promise.race([started, stopping]);
    if (typeof facts === 'string') {
      // What the start does after this is cut short by the disposal.
      started.catch(() => {});
    } else {
      // What was compiled until now is kept for those that start next, even if this process is killed.
      flushCompileCache();
      announce({ ready: true, service: name, pid: process.pid, ...facts });
      logger.info(facts, 'ready');
    }
  } catch (error) {
    if (service) await disposed(service, config, logger);
    if (error instanceof ConfigError) die(undefined, `cannot start: ${error.message}`);
    die(error, 'cannot start');
  }
  logger.info({ reason: await stopping }, 'draining');
  if (!(await disposed(service!, config, logger))) process.exit(1);
  logger.info('stopped');
  endSoon(logger);
}

/** Before there is a logger, a wrong variable is told on standard error alone. */
function lifecycleConfig(name: string): LifecycleConfig {
  try {
    return readLifecycleConfig(process.env);
  } catch (error) {
    createLogger(name, 'info').fatal(`cannot start: ${(error as Error).message}`);
    process.exit(1);
  }
}

/** Resolves with the reason to stop. */
function stopReason({ endWithParent }: LifecycleConfig): Promise<string> {
  return new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
    if (!endWithParent) return;
    const parent = process.ppid;
    // An orphan gets another parent.
    const poll = setInterval(
      () => process.ppid !== parent && resolve('the parent has ended'),
      PARENT_POLL_MS,
    );
    poll.unref();
  });
}

function announce(line: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
  process.send?.(line);
  // A parent that listens does not hold a process that has nothing else to do.
  process.channel?.unref();
}

/** Whether the service let go of everything in time. */
async function disposed(service: Service, { graceMs }: LifecycleConfig, logger: Logger): Promise<boolean> {
  const late = delay(graceMs + DISPOSE_MS, 'late' as const, { ref: false });
  try {
    const end = await Promise.race([service[Symbol.asyncDispose](), late]);
    if (end !== 'late') return true;
    logger.error({ holding: process.getActiveResourcesInfo() }, 'the service did not stop in time');
  } catch (error) {
    logger.error({ err: error }, 'the service did not stop cleanly');
  }
  return false;
}

/** A leaked handle must not keep a stopped service alive; what it was is told. */
function endSoon(logger: Logger): void {
  const timer = setTimeout(() => {
    logger.warn({ holding: process.getActiveResourcesInfo() }, 'something was left open');
    process.exit(0);
  }, 5_000);
  timer.unref();
}
