import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import {
  type NamedTensor,
  readFloat32,
  readSafetensorsHeader,
  writeSafetensors,
} from '@landfall/graph/checkpoint/safetensors.ts';
import type { LossScaleState } from '@landfall/graph/training/loss-scale.ts';
import type { AdamWState } from '@landfall/graph/training/optimizer.ts';
import type { Look } from './validation.ts';

/** What a step showed. */
export interface StepPoint {
  /** Optimiser steps done. */
  step: number;
  /** Epochs done, as a fraction. */
  epoch: number;
  /** Mean cross entropy of the step, nats a token. */
  loss: number;
  learningRate: number;
}

/** Everything that a run's later numbers depend on; the sampler's place follows from the step. */
export interface TrainingState {
  /** Optimiser steps done. */
  step: number;
  parameters: Map<string, NamedTensor>;
  adam: AdamWState;
  /** The last steps' numbers: some may not have been reported when the process died. */
  history: StepPoint[];
  /** What looks at the validation rows have shown, all of them. */
  looks: Look[];
  /** Where gradients are float16. */
  lossScale?: LossScaleState;
  /** The weights of the best look, where they are kept and are not the last ones. */
  best?: Map<string, NamedTensor>;
}

interface Manifest {
  format: 2;
  step: number;
  fingerprint: string;
  /** sha256 by file. */
  digests: Record<string, string>;
  history: StepPoint[];
  looks: Look[];
  lossScale?: LossScaleState;
}

const KEPT = 2;
const NAME = /^step-(\d{9})$/;
const FILES = ['parameters', 'first', 'second'] as const;
const BEST = 'best';

/**
 * Checkpoints of one run in a folder of its own. A checkpoint is there whole or not at all: it is written aside,
 * synced, and renamed; and one whose files don't match their digests is passed over for the one before it.
 */
export class CheckpointStore {
  readonly #folder: string;
  readonly #fingerprint: string;

  /** @param fingerprint of base, data and settings: checkpoints of another run are not read */
  constructor(folder: string, fingerprint: string) {
    this.#folder = folder;
    this.#fingerprint = fingerprint;
  }

  /** @throws the file system's error, ENOSPC for a full disk; earlier checkpoints stay */
  async save({ step, parameters, adam, history, looks, lossScale, best }: TrainingState): Promise<void> {
    const name = `step-${String(step).padStart(9, '0')}`;
    const aside = path.join(this.#folder, `${name}.${process.pid}.partial`);
    try {
      await rm(aside, { recursive: true, force: true });
      await mkdir(aside, { recursive: true });
      const shaped = (values: Map<string, Float32Array>) =>
        new Map([...values].map(([key, data]) => [key, { shape: parameters.get(key)!.shape, data }]));
      writeSafetensors(fileIn(aside, 'parameters'), parameters);
      writeSafetensors(fileIn(aside, 'first'), shaped(adam.first));
      writeSafetensors(fileIn(aside, 'second'), shaped(adam.second));
      if (best) writeSafetensors(fileIn(aside, BEST), best);
      const files = best ? [...FILES, BEST] : FILES;
      const digests = Object.fromEntries(files.map((file) => [file, digestOf(fileIn(aside, file))]));
      const fingerprint = this.#fingerprint;
      const manifest: Manifest = {
        ...{ format: 2, step, fingerprint, digests, history, looks },
        ...(lossScale ? { lossScale } : {}),
      };
      writeFileSync(path.join(aside, 'manifest.json'), JSON.stringify(manifest), { flush: true });
      syncFolder(aside);
      await rm(path.join(this.#folder, name), { recursive: true, force: true });
      await rename(aside, path.join(this.#folder, name));
      syncFolder(this.#folder);
    } finally {
      await rm(aside, { recursive: true, force: true });
    }
    await this.#prune();
  }

  /** The newest checkpoint that is whole, or undefined. */
  async latest(): Promise<TrainingState | undefined> {
    for (const name of (await this.#names()).reverse()) {
      const state = this.#read(path.join(this.#folder, name));
      if (state) return state;
    }
    return undefined;
  }

  #read(folder: string): TrainingState | undefined {
    try {
      const manifest = JSON.parse(readFileSync(path.join(folder, 'manifest.json'), 'utf8')) as Manifest;
      if (manifest.format !== 2 || manifest.fingerprint !== this.#fingerprint) return undefined;
      const files = BEST in manifest.digests ? [...FILES, BEST] : FILES;
      if (files.some((file) => digestOf(fileIn(folder, file)) !== manifest.digests[file])) return undefined;
      const moments = (file: string) =>
        new Map([...readTensors(fileIn(folder, file))].map(([name, { data }]) => [name, data]));
      return {
        step: manifest.step,
        parameters: readTensors(fileIn(folder, 'parameters')),
        adam: { step: manifest.step, first: moments('first'), second: moments('second') },
        history: manifest.history,
        looks: manifest.looks,
        ...(manifest.lossScale ? { lossScale: manifest.lossScale } : {}),
        ...(BEST in manifest.digests ? { best: readTensors(fileIn(folder, BEST)) } : {}),
      };
    } catch {
      // Torn or foreign: an older one will do.
      return undefined;
    }
  }

  async #names(): Promise<string[]> {
    const entries = await readdir(this.#folder).catch(() => []);
    return entries.filter((name) => NAME.test(name)).sort();
  }

  /** Removes all but the newest ones, and what an interrupted save has left. */
  async #prune(): Promise<void> {
    const old = (await this.#names()).slice(0, -KEPT);
    const partial = (await readdir(this.#folder)).filter((name) => name.endsWith('.partial'));
    for (const name of [...old, ...partial]) {
      await rm(path.join(this.#folder, name), { recursive: true, force: true });
    }
  }
}

const fileIn = (folder: string, file: string) => path.join(folder, `${file}.safetensors`);

function digestOf(file: string): string {
  // In parts: a file may be larger than one buffer may be.
  const hash = createHash('sha256');
  const handle = openSync(file, 'r');
  try {
    const part = Buffer.alloc(8 * 1024 * 1024);
    for (let read = readSync(handle, part); read > 0; read = readSync(handle, part)) {
      hash.update(part.subarray(0, read));
    }
  } finally {
    closeSync(handle);
  }
  return hash.digest('hex');
}

function readTensors(file: string): Map<string, NamedTensor> {
  const entries = [...readSafetensorsHeader(file).tensors];
  return new Map(
    entries.map(([name, entry]) => [name, { shape: entry.shape, data: readFloat32(file, entry) }]),
  );
}

function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
