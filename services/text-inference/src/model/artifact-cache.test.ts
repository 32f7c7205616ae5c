import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ArtifactCache, type CachedFile, CorruptArtifactError, type ReadFile } from './artifact-cache.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(os.tmpdir(), 'artifact-cache-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const never = new AbortController().signal;
const content: Record<string, string> = { 'config.json': '{}', 'onnx/model.bin': 'weights' };
const files: CachedFile[] = Object.entries(content).map(([name, text]) => ({
  path: name,
  digest: `sha256:${createHash('sha256').update(text).digest('hex')}`,
  sizeBytes: text.length,
}));
let reads = 0;
const read: ReadFile = async function* (file) {
  reads++;
  for (const letter of content[file.path]!) yield Buffer.from(letter);
};

describe('ArtifactCache', () => {
  test('fetches once, shares a running download, and keeps nothing beside it', async () => {
    reads = 0;
    const cache = new ArtifactCache(root);
    const [a, b] = await Promise.all([cache.folder(files, read, never), cache.folder(files, read, never)]);
    expect(a).toBe(b);
    expect(readFileSync(path.join(a, 'onnx/model.bin'), 'utf8')).toBe('weights');
    expect(await new ArtifactCache(root).folder(files, read, never)).toBe(a);
    expect(reads).toBe(2);
    expect(readdirSync(root)).toEqual([path.basename(a)]);
  });

  test('content that differs from its digest is refused and not kept', async () => {
    const wrong: ReadFile = async function* () {
      yield Buffer.from('other');
    };
    const cache = new ArtifactCache(root);
    await expect(cache.folder(files, wrong, never)).rejects.toThrow(CorruptArtifactError);
    expect(readdirSync(root)).toEqual([]);
    expect(existsSync(await cache.folder(files, read, never))).toBe(true);
  });

  test('a bit that changed on disk is found and the file fetched anew', async () => {
    const folder = await new ArtifactCache(root).folder(files, read, never);
    writeFileSync(path.join(folder, 'onnx/model.bin'), 'weighty');
    expect(await new ArtifactCache(root).folder(files, read, never)).toBe(folder);
    expect(readFileSync(path.join(folder, 'onnx/model.bin'), 'utf8')).toBe('weights');
  });

  test('paths and digests that could lead elsewhere are refused before anything is read', async () => {
    const bad = ['../x', '/x', 'a/../../x', 'a\\..\\x', 'a\0b', '', 'a//b', '.'];
    for (const name of bad) {
      await expect(
        new ArtifactCache(root).folder([{ ...files[0]!, path: name }], read, never),
      ).rejects.toThrow(CorruptArtifactError);
    }
    const digest = 'sha256:../../x';
    await expect(new ArtifactCache(root).folder([{ ...files[0]!, digest }], read, never)).rejects.toThrow(
      'digest',
    );
    expect(readdirSync(root)).toEqual([]);
  });
});
