/** What a replica's process is started with; 0 and empty leave it to the runtime's environment. */
export interface RuntimeSettings {
  /** Requests that run at once. */
  maxBatch: number;
  threads: number;
  /** Memory that it needs: none is started for which nothing is left, and one that takes more is replaced. */
  memoryMib: number;
  quantization: '' | 'float32' | 'int8' | 'int4';
}

/** What a replica is to be. */
export interface ReplicaSpec {
  /** UUID. */
  id: string;
  tenant: string;
  /** `models:/name/version` */
  base: string;
  /** `host:port` from `place`. */
  address: string;
  settings: RuntimeSettings;
}

/** What is known of a replica that an earlier balancer started. */
export interface ReplicaRecord extends ReplicaSpec {
  /** 0 where the earlier balancer died before it could write it down. */
  pid: number;
  mark: string;
}

/** How a replica ended; code and signal are null where it was not this process's own child. */
export interface ReplicaExit {
  code: number | null;
  signal: string | null;
}

/** A replica that runs. */
export interface RunningReplica {
  readonly pid: number;
  /** Tells it from whatever has the same pid later. */
  readonly mark: string;
  /** Resident memory of its process in MiB; undefined where that is not known, or its runtime keeps the limit itself. */
  residentMib(): number | undefined;
  /** Resolves when it has ended, by whomever. */
  readonly exited: Promise<ReplicaExit>;
  /** Asks it to finish what it has and end. */
  terminate(): void;
  /** Ends it at once. */
  kill(): void;
  /** Goes on without watching it; it stays as it is. */
  forget(): void;
}

/** A replica was declared to need memory that is not left. */
export class NoMemoryError extends Error {
  override name = 'NoMemoryError';

  constructor(memoryMib: number, promisedMib: number, allMib: number) {
    super(`${memoryMib} MiB are needed, and ${promisedMib} of ${allMib} MiB are taken`);
  }
}

/** Where replicas run. Child processes of this machine are one; pods would be another. */
export interface Runtime {
  /** An address for a replica that is about to be started. */
  place(): Promise<string>;
  start(spec: ReplicaSpec): Promise<RunningReplica>;
  /** The replica of a record if it still runs, and is the very same. */
  adopt(record: ReplicaRecord): Promise<RunningReplica | undefined>;
}
