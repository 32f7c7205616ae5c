import { create, type DescField, type DescMessage } from '@bufbuild/protobuf';
import { RenderPromptRequestSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { GenerateRequestSchema } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import {
  ChatRequestSchema,
  InspectStreamRequestSchema,
  SearchRequestSchema,
} from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import { expect, test } from 'vitest';
import { publicMethods } from '../edge/services.ts';
import { isBytes, kindOfBytes } from './image-fields.ts';
import { imagesIn, isImageUrl } from './images.ts';

/** The smallest PNG there is: one pixel. */
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=',
  'base64',
);
const URL_OF_PNG = `data:image/png;base64,${PNG.toString('base64')}`;

test('every field of bytes of every public contract is known for images or for other data', () => {
  const fields = new Map<string, DescField>();
  const seen = new Set<string>();
  const add = (message: DescMessage) => {
    if (seen.has(message.typeName)) return;
    seen.add(message.typeName);
    for (const field of message.fields) {
      if (isBytes(field)) fields.set(`${message.typeName}.${field.name}`, field);
      // Maps of bytes would have to be visited, too.
      if (field.fieldKind === 'map') expect(field.scalar, field.name).not.toBe(12);
      if (field.message) add(field.message);
    }
  };
  for (const { input, output } of publicMethods.values()) {
    add(input);
    add(output);
  }
  expect(fields.size).toBeGreaterThan(6);
  // Say in image-fields.ts whether policies may have them read.
  const unknown = [...fields].filter(([, field]) => kindOfBytes(field) === undefined);
  expect(unknown.map(([name]) => name)).toEqual([]);
});

test('images are found in lists, in messages within messages and in data URLs, and can be put there', () => {
  const image = { content: PNG };
  const chat = create(ChatRequestSchema, {
    images: [image, image],
    messages: [{ role: 'user', content: '看 <image>', images: [PNG] }],
  });
  const places = imagesIn(ChatRequestSchema, chat);
  expect(places.map(({ path }) => path)).toEqual([
    'images[0].content',
    'images[1].content',
    'messages[0].images[0]',
  ]);
  places[2]!.put(Buffer.from('other'));
  expect(Buffer.from(chat.messages[0]!.images[0]!).toString()).toBe('other');
  const stream = create(InspectStreamRequestSchema, { requests: [{ image }, {}, { image }] });
  expect(imagesIn(InspectStreamRequestSchema, stream).map(({ path }) => path)).toEqual([
    'requests[0].image.content',
    'requests[2].image.content',
  ]);
  expect(imagesIn(SearchRequestSchema, create(SearchRequestSchema, { image, text: 'a' }))).toHaveLength(1);
  const generate = create(GenerateRequestSchema, { messages: [{ role: 'user', images: [PNG, PNG] }] });
  expect(imagesIn(GenerateRequestSchema, generate)).toHaveLength(2);

  const variables = { photo: URL_OF_PNG, more: [{ deep: URL_OF_PNG }], note: 'data:image/png is a type' };
  const render = create(RenderPromptRequestSchema, { variables });
  const named = imagesIn(RenderPromptRequestSchema, render);
  expect(named.map(({ path }) => path)).toEqual(['variables.photo', 'variables.more[0].deep']);
  expect(Buffer.from(named[1]!.read()).equals(PNG)).toBe(true);
  const other = Buffer.concat([PNG, Buffer.from('behind its end')]);
  named[1]!.put(other);
  expect(Buffer.from(imagesIn(RenderPromptRequestSchema, render)[1]!.read()).equals(other)).toBe(true);
});

test('the data URL of an image is one however it is broken into lines; a text about one is a text', () => {
  expect(isImageUrl(URL_OF_PNG)).toBe(true);
  expect(isImageUrl(` \n${URL_OF_PNG.replace(/.{40}/g, '$&\r\n')}`)).toBe(true);
  expect(isImageUrl('DATA:image/JPEG;charset=x;base64,AAAA')).toBe(true);
  for (const text of ['', 'data:image/png;base64', `what is ${URL_OF_PNG}`, `${URL_OF_PNG} what is it?`])
    expect(isImageUrl(text), text).toBe(false);
});
