import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import S3rver from 's3rver';

/** The pair that s3rver takes. */
const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' };

/** An S3-compatible server with one bucket on a free port of loopback; its objects are files under `folder`. */
export class S3Server implements AsyncDisposable {
  readonly folder: string;
  readonly #server: S3rver;
  readonly #before: Record<string, string | undefined>;
  #port = 0;

  private constructor(folder: string) {
    this.folder = folder;
    this.#server = new S3rver({
      address: '127.0.0.1',
      port: 0,
      silent: true,
      directory: folder,
      configureBuckets: [{ name: 'artifacts', configs: [] }],
    });
    this.#before = Object.fromEntries(Object.keys(CREDENTIALS).map((name) => [name, process.env[name]]));
    Object.assign(process.env, CREDENTIALS);
  }

  static async start(): Promise<S3Server> {
    const server = new S3Server(mkdtempSync(join(tmpdir(), 'landfall-s3-')));
    server.#port = (await server.#server.run()).port;
    return server;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** For LANDFALL_ARTIFACTS_URL. */
  url(prefix: string): string {
    return `s3://artifacts/${prefix}?endpoint=${encodeURIComponent(this.endpoint)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close();
    for (const [name, value] of Object.entries(this.#before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
