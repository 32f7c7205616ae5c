import { createLogger } from '../log/logger.ts';

/** A service as its main knows it. */
export interface Service extends AsyncDisposable {
  /** Resolves when it answers; what it returns goes into its ready line. */
  start(): Promise<Record<string, unknown>>;
}

/**
 * Runs a service until SIGTERM or SIGINT: creates it, starts it, prints one line of JSON
 * (`{"ready":true,"service":...}`) on standard output, and disposes of it when told to stop. The process ends by
 * itself when nothing is left to do; a failed start or an unhandled rejection ends it with code 1.
 */
export async function runService(name: string, create: () => Promise<Service>): Promise<void> {
  const logger = createLogger(name, process.env.LANDFALL_LOG_LEVEL || 'info');
  const die = (error: unknown, message: string) => {
    logger.fatal({ err: error }, message);
    process.exit(1);
  };
  process.on('unhandledRejection', (error) => die(error, 'unhandled rejection'));
  process.on('uncaughtException', (error) => die(error, 'uncaught exception'));
  const stopping = new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  let service: Service;
  try {
    service = await create();
    const facts = await service.start();
    process.stdout.write(`${JSON.stringify({ ready: true, service: name, pid: process.pid, ...facts })}\n`);
    logger.info(facts, 'ready');
  } catch (error) {
    return die(error, 'cannot start');
  }
  const signal = await stopping;
  logger.info({ signal }, 'draining');
  await service[Symbol.asyncDispose]();
  logger.info('stopped');
}
