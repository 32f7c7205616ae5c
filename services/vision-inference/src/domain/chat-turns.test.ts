import { status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { withImages } from './chat-turns.ts';

const image = (number: number) => Uint8Array.of(number);
const turn = (role: string, content: string, ...own: number[]) => ({ role, content, images: own.map(image) });
const numbers = (...given: Parameters<typeof withImages>) =>
  withImages(...given).map(({ images }) => images.map(([number]) => number));

test('images stand where the chat says, over several turns', () => {
  const turns = [
    turn('user', 'from <image> to <image>?'),
    turn('assistant', 'blue'),
    turn('user', 'and <image>?'),
  ];
  expect(numbers(turns, [1, 2, 3].map(image))).toEqual([[1, 2], [], [3]]);
});

test('images without a place stand before the last question', () => {
  const turns = [turn('user', 'hello'), turn('assistant', 'hi'), turn('user', 'what are these?')];
  expect(numbers(turns, [1, 2].map(image))).toEqual([[], [], [1, 2]]);
});

test('a turn keeps its own images', () => {
  const turns = [turn('user', '<image> what?', 7), turn('user', 'and <image>?')];
  expect(numbers(turns, [image(1)])).toEqual([[7], [1]]);
  expect(numbers([turn('user', 'plain')], [])).toEqual([[]]);
});

test('a place without an image, and an image without a question, are refused', () => {
  expect(() => withImages([turn('user', '<image><image>')], [image(1)])).toThrow(
    expect.objectContaining({
      code: status.INVALID_ARGUMENT,
      fieldViolations: [expect.objectContaining({ field: 'images' })],
    }),
  );
  expect(() => withImages([turn('system', 'x')], [image(1)])).toThrow(
    expect.objectContaining({ fieldViolations: [expect.objectContaining({ field: 'messages' })] }),
  );
});
