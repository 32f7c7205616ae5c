import { status } from '@grpc/grpc-js';
import { createLogger } from '@landfall/common/log/logger.ts';
import { ImageError } from '@landfall/images/errors.ts';
import { Page } from '@landfall/ocr/page.ts';
import { drawnPng } from '@landfall/ocr/test-pictures.ts';
import { beforeAll, expect, test, vi } from 'vitest';
import { ImageReaders } from './image-readers.ts';

vi.setConfig({ testTimeout: 300_000 });

const logger = createLogger('test', 'silent');
const readersWith = (options: { processes?: number; mostWaiting?: number; timeoutMs?: number } = {}) =>
  new ImageReaders({ processes: 1, threads: 1, timeoutMs: 300_000, mostWaiting: 8, logger, ...options });
const { signal } = new AbortController();

let picture: Buffer;
beforeAll(async () => {
  picture = await drawnPng('表面有划痕', { px: 24 });
});

const textOf = async (readers: ImageReaders) => {
  const [reading] = await readers.read(picture, signal);
  return new Page(reading!).text;
};
const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('a process starts with the first image, reads the next ones too, and ends with its owner', async () => {
  const readers = readersWith();
  expect(readers.processes).toEqual([]);
  const texts = await Promise.all([textOf(readers), textOf(readers), textOf(readers)]);
  expect(texts).toEqual(['表面有划痕', '表面有划痕', '表面有划痕']);
  const [pid, ...more] = readers.processes;
  expect(more).toEqual([]);
  expect(isAlive(pid!)).toBe(true);
  await readers[Symbol.asyncDispose]();
  expect(isAlive(pid!)).toBe(false);
  await expect(readers.read(picture, signal)).rejects.toMatchObject({ code: status.UNAVAILABLE });
});

test('as many images are read at once as there may be processes, and no more', async () => {
  await using readers = readersWith({ processes: 2 });
  const texts = [textOf(readers), textOf(readers), textOf(readers)];
  expect(readers.processes).toHaveLength(2);
  expect(readers.waiting).toBe(1);
  expect(await Promise.all(texts)).toEqual(['表面有划痕', '表面有划痕', '表面有划痕']);
  expect(readers.processes).toHaveLength(2);
});

test('an image whose process is lost is told so, and those who waited are read by another one', async () => {
  await using readers = readersWith();
  const lost = readers.read(picture, signal);
  const next = textOf(readers);
  const [pid] = readers.processes;
  process.kill(pid!, 'SIGKILL');
  await expect(lost).rejects.toMatchObject({ code: status.UNAVAILABLE, retryAfterMs: 1000 });
  expect(await next).toBe('表面有划痕');
  expect(readers.processes).not.toContain(pid);
});

test('a process that is lost between two images is replaced', async () => {
  await using readers = readersWith();
  await textOf(readers);
  const [pid] = readers.processes;
  process.kill(pid!, 'SIGKILL');
  await vi.waitFor(() => expect(readers.processes).toEqual([]));
  expect(await textOf(readers)).toBe('表面有划痕');
});

test('an image that takes too long is refused, and its process ended', async () => {
  // No process has loaded its models after a millisecond.
  await using readers = readersWith({ timeoutMs: 1 });
  await expect(readers.read(picture, signal)).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
    reason: 'IMAGE_UNREAD',
    message: expect.stringContaining('lets none pass unread'),
  });
  expect(readers.processes).toEqual([]);
});

test('no more wait than may, and who leaves waits no longer', async () => {
  await using readers = readersWith({ mostWaiting: 1 });
  const first = textOf(readers);
  const leaving = new AbortController();
  const second = readers.read(picture, leaving.signal);
  expect(readers.waiting).toBe(1);
  await expect(readers.read(picture, signal)).rejects.toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
    reason: 'IMAGE_QUEUE_FULL',
    retryAfterMs: 1000,
  });
  leaving.abort(new Error('gone'));
  await expect(second).rejects.toThrow('gone');
  expect(readers.waiting).toBe(0);
  expect(await first).toBe('表面有划痕');
});

test('images that are none are told so, and the process reads on', async () => {
  await using readers = readersWith();
  const half = picture.subarray(0, picture.length / 2);
  await expect(readers.read(half, signal)).rejects.toBeInstanceOf(ImageError);
  const noise = Buffer.from(picture);
  noise.fill(0x5a, 60, picture.length - 20);
  await expect(readers.read(noise, signal)).rejects.toMatchObject({ fault: 'broken' });
  const [pid] = readers.processes;
  expect(await textOf(readers)).toBe('表面有划痕');
  expect(readers.processes).toEqual([pid]);
});
