/** Messages that name a resource somewhere, found by their descriptors. */

import { create, type DescMessage, type Message } from '@bufbuild/protobuf';

/** A message in which some field names `models/NAME`, as `read` finds it; undefined where there is none. */
export function withName(
  shape: DescMessage,
  read: (message: Message) => readonly string[],
  name = 'a',
  wrap: (inner: Message) => Message = (inner) => inner,
  depth = 0,
): Message | undefined {
  if (depth > 4) return undefined;
  for (const field of shape.fields) {
    if (field.oneof) continue;
    const reference = `models:/${name}/1.0.0`;
    const isText =
      field.fieldKind === 'scalar' && typeof create(shape)[field.localName as never] === 'string';
    const isTexts = field.fieldKind === 'list' && field.listKind === 'scalar';
    if (isText || isTexts) {
      const message = wrap(create(shape, { [field.localName]: isText ? reference : [reference] } as never));
      if (read(message).some((resource) => resource.endsWith(`/${name}`))) return message;
    }
    const isList = field.fieldKind === 'list' && field.listKind === 'message';
    if (field.fieldKind === 'message' || isList) {
      const around = (inner: Message) =>
        wrap(create(shape, { [field.localName]: isList ? [inner] : inner } as never));
      const found = withName(field.message, read, name, around, depth + 1);
      if (found) return found;
    }
  }
  return undefined;
}
