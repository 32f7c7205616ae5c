import { createServer } from 'node:net';

function listen(port: number): Promise<{ port: number; close: () => Promise<void> }> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') return reject(new Error('no port'));
      resolve({
        port: address.port,
        close: () => new Promise((done) => server.close(() => done())),
      });
    });
  });
}

/**
 * Loopback ports for the named services: the one each had before where it is still free, a free one otherwise.
 * They are held together until all are known, so that no two services get the same.
 */
export async function choosePorts(
  names: readonly string[],
  before: Record<string, number>,
): Promise<Record<string, number>> {
  const held = new Map<string, Awaited<ReturnType<typeof listen>>>();
  try {
    for (const name of names) {
      const wanted = before[name] ?? 0;
      const server = await listen(wanted).catch(() => (wanted === 0 ? Promise.reject() : listen(0)));
      held.set(name, server);
    }
    return Object.fromEntries([...held].map(([name, server]) => [name, server.port]));
  } finally {
    await Promise.all([...held.values()].map((server) => server.close()));
  }
}
