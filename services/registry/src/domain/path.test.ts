import { status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { checkFilePath, checkPathsFitTogether, pathProblem } from './path.ts';

test.each([
  'config.json',
  'onnx/model.onnx',
  'onnx/model.onnx_data',
  'a/b/c/d.txt',
  '数据/训练（一）.json',
  '.gitattributes',
  'a..b/c...d',
])('takes %j', (path) => {
  expect(checkFilePath(path)).toBe(path);
});

test.each([
  '',
  '.',
  '..',
  '../x',
  'a/../x',
  'a/..',
  './x',
  'a//b',
  'a/',
  '/etc/passwd',
  '//host/share',
  '~/x',
  '..\\..\\x',
  'a\\b',
  'C:\\x',
  'C:x',
  'a:stream',
  '..%2fx',
  '%2e%2e/x',
  '%252e%252e%252fx',
  'a\0b',
  'a\nb',
  'a\u202eb',
  'a\u200bb',
  '．．/x',
  '‥/x',
  'a／..／b',
  '... /x',
  '. ./x',
  `${'a/'.repeat(16)}b`,
  'a'.repeat(256),
  `${'a'.repeat(200)}/${'b'.repeat(200)}/${'c'.repeat(200)}`,
])('refuses %j', (path) => {
  expect(pathProblem(path)).toBeTypeOf('string');
  expect(() => checkFilePath(path)).toThrow(expect.objectContaining({ code: status.INVALID_ARGUMENT }));
});

test('refuses a file that is a folder of another', () => {
  checkPathsFitTogether(['a/b', 'a/c', 'ab']);
  expect(() => checkPathsFitTogether(['a/b/c', 'a'])).toThrow(/'a' is a file and the folder/);
});
