import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isSameProcess, type ProcessMark } from './process-mark.ts';

/** What a mesh leaves in its state folder so that the next start finds the same addresses and no leftovers. */
export interface MeshRecord {
  /** The launcher. */
  launcher: ProcessMark;
  /** Port by service name; kept over restarts so that callers reconnect by themselves. */
  ports: Record<string, number>;
  /** Running processes by service name. */
  processes: Record<string, ProcessMark>;
}

/** The state folder of a mesh: keys, ports, logs, and a folder for each service. */
export class MeshHome {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = resolve(folder);
    mkdirSync(join(this.folder, 'logs'), { recursive: true, mode: 0o700 });
  }

  get meshKeyFile(): string {
    return join(this.folder, 'mesh.key');
  }

  /** Where the gateway puts the first key's secret, readable by its owner alone. */
  get firstKeyFile(): string {
    return join(this.folder, 'first.key');
  }

  logFile(service: string): string {
    return join(this.folder, 'logs', `${service}.log`);
  }

  /** Makes the key with which services sign identities, once. */
  ensureMeshKey(): void {
    if (existsSync(this.meshKeyFile)) return;
    writeFileSync(this.meshKeyFile, randomBytes(48).toString('base64url'), { mode: 0o600, flag: 'wx' });
  }

  readRecord(): MeshRecord | undefined {
    try {
      return JSON.parse(readFileSync(join(this.folder, 'mesh.json'), 'utf8')) as MeshRecord;
    } catch {
      return undefined;
    }
  }

  writeRecord(record: MeshRecord): void {
    const file = join(this.folder, 'mesh.json');
    writeFileSync(`${file}.tmp`, JSON.stringify(record, null, 2), { mode: 0o600 });
    renameSync(`${file}.tmp`, file);
  }

  /**
   * Ends processes that a killed launcher left behind; each is checked to be the one it wrote down.
   * @throws Error when a launcher of this folder is still at work.
   */
  claim(): MeshRecord['ports'] {
    const record = this.readRecord();
    if (!record) return {};
    if (isSameProcess(record.launcher)) {
      throw new Error(
        `a mesh is already running on ${this.folder} (process ${record.launcher.pid}); stop it first, or choose another folder with LANDFALL_HOME`,
      );
    }
    for (const mark of Object.values(record.processes)) {
      if (isSameProcess(mark)) process.kill(mark.pid, 'SIGKILL');
    }
    return record.ports;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
