import { hostname } from 'node:os';
import { type Env, integerVar, stringVar } from '@landfall/common/config/env.ts';
import { readServiceConfig, type ServiceConfig } from '@landfall/common/config/service-config.ts';

/** Where the services are that the trainer calls, `host:port`. */
export interface Neighbours {
  registryUrl: string;
  balancerUrl: string;
}

/** The control service. */
export interface TrainerConfig extends ServiceConfig, Neighbours {
  /** Memory that a job may use, in bytes; 0 takes the machine's. */
  memoryBytes: number;
  /** Threads that a worker trains with, for estimates of time. */
  threads: number;
}

/** A worker. */
export interface WorkerConfig extends ServiceConfig, Neighbours {
  /** The control service, `host:port`. */
  trainerUrl: string;
  /** Threads of one operation. */
  threads: number;
  /** Memory that a job may use, in bytes; 0 takes the machine's. */
  memoryBytes: number;
  /** Silence after which the queue hands a worker's job to another, in milliseconds. */
  ackWaitMs: number;
  /** Milliseconds between reports of progress. */
  reportMs: number;
  /** Answers asked for at once while evaluating. */
  evaluationConcurrency: number;
  /** For people: host and pid. */
  workerName: string;
}

const neighbours = (env: Env): Neighbours => ({
  registryUrl: stringVar(env, 'LANDFALL_REGISTRY_URL'),
  balancerUrl: stringVar(env, 'LANDFALL_BALANCER_URL'),
});

const memoryBytes = (env: Env) => integerVar(env, 'LANDFALL_TRAINER_MEMORY_MIB', 0, 0, 2 ** 31) * 1024 ** 2;
const threads = (env: Env) => integerVar(env, 'LANDFALL_TRAINER_THREADS', 2, 1, 1024);

/**
 * The control service's configuration: what all services share, and LANDFALL_REGISTRY_URL, LANDFALL_BALANCER_URL,
 * LANDFALL_TRAINER_MEMORY_MIB, LANDFALL_TRAINER_THREADS.
 * @throws ConfigError that names the variable
 */
export function readConfig(env: Env): TrainerConfig {
  return {
    ...readServiceConfig('trainer', env),
    ...neighbours(env),
    memoryBytes: memoryBytes(env),
    threads: threads(env),
  };
}

/**
 * A worker's configuration: as the control service's, and LANDFALL_TRAINER_URL, LANDFALL_TRAINER_ACK_WAIT_MS,
 * LANDFALL_TRAINER_REPORT_MS, LANDFALL_TRAINER_EVALUATION_CONCURRENCY.
 */
export function readWorkerConfig(env: Env): WorkerConfig {
  return {
    // Workers of one machine share the state folder of their control service: a job's checkpoints lie there.
    ...readServiceConfig('trainer', env),
    ...neighbours(env),
    trainerUrl: stringVar(env, 'LANDFALL_TRAINER_URL'),
    threads: threads(env),
    memoryBytes: memoryBytes(env),
    ackWaitMs: integerVar(env, 'LANDFALL_TRAINER_ACK_WAIT_MS', 5000, 300, 600_000),
    reportMs: integerVar(env, 'LANDFALL_TRAINER_REPORT_MS', 500, 10, 60_000),
    evaluationConcurrency: integerVar(env, 'LANDFALL_TRAINER_EVALUATION_CONCURRENCY', 8, 1, 256),
    workerName: `${hostname()}:${process.pid}`,
  };
}
