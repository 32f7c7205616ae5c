import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { Deployment } from '../db/entities.ts';
import { writeFindings } from '../domain/deployments.ts';
import type { Served } from '../domain/resolve.ts';
import { type DeploymentTable, deploymentKey } from './deployment-table.ts';
import { nextOf } from './roles.ts';
import { type ScalingChange, withChange } from './scaler.ts';
import { deploymentStatus, type Supply, statusDiffers } from './status.ts';

export interface FindingsWriterOptions {
  database: Database;
  logger: Logger;
  table: DeploymentTable;
  /** What there is for a model of a tenant. */
  supplyOf: (tenant: string) => (served: Served) => Supply;
  /** Told of each deployment as it was written. */
  written: (row: Deployment) => void;
}

const REWRITE_MS = 1000;

/** Writes what the control loops find out about deployments, one write at a time for each, until it stands. */
export class FindingsWriter {
  readonly #options: FindingsWriterOptions;
  /** Deployments whose findings are being written. */
  readonly #writing = new Set<string>();
  /** Changes of replicas that are to be written. */
  readonly #scaling = new Map<string, ScalingChange>();
  #stopped = false;

  constructor(options: FindingsWriterOptions) {
    this.#options = options;
  }

  /** Writes nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  /** A deployment is to have another number of replicas. */
  scale(row: Deployment, change: ScalingChange): void {
    const key = deploymentKey(row);
    this.#scaling.set(key, change);
    this.review(key);
  }

  /** Looks whether something is to be written. @param key see deploymentKey */
  review(key: string): void {
    // A write that is under way looks again when it is done.
    if (!this.#writing.has(key) && this.#due(key)) void this.#write(key);
  }

  /** What is to be written of a deployment, where it is not what stands. */
  #due(key: string) {
    const { table, supplyOf } = this.#options;
    const row = table.get(key);
    if (!row || this.#stopped) return undefined;
    const supply = supplyOf(row.tenant);
    const change = this.#scaling.get(key);
    // It was decided for another number of replicas than there is now: the next look decides anew.
    if (change && change.from === row.replicas) {
      const wasReady = row.wasReady && change.to < change.from;
      const state = change.to > change.from ? { state: 'progressing' as const } : {};
      return {
        row,
        findings: { replicas: change.to, decisions: withChange(row, change), wasReady, ...state },
      };
    }
    this.#scaling.delete(key);
    const next = nextOf(row);
    const status = deploymentStatus(row, supply(row), next && supply(next));
    return statusDiffers(row, status) ? { row, findings: status } : undefined;
  }

  async #write(key: string): Promise<void> {
    const { database, table, logger, written } = this.#options;
    this.#writing.add(key);
    for (let due = this.#due(key); due; due = this.#due(key)) {
      try {
        const row = await writeFindings(database, due.row, due.findings);
        if (row) written(row);
        else table.delete(key);
      } catch (error) {
        const { tenant, name } = due.row;
        logger.warn({ err: error, tenant, name }, 'the state of a deployment is written again');
        await delay(REWRITE_MS, undefined, { ref: false });
      }
    }
    this.#writing.delete(key);
  }
}
