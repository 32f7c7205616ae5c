import type { DescField, DescMessage, Message } from '@bufbuild/protobuf';
import { imageFromDataUrl } from '@landfall/images/data-url.ts';
import { readHeader } from '@landfall/images/header.ts';
import { isBytes, kindOfBytes } from './image-fields.ts';
import { kindOf } from './text-fields.ts';

type Fields = Record<string, unknown>;

/** An image of a message. */
export interface ImagePlace {
  /** Its field by its path: `messages[0].images[1]`. */
  path: string;
  /** @throws ImageError where a data URL is none */
  read(): Uint8Array;
  /** Puts another image in its place. */
  put(bytes: Uint8Array): void;
}

/** All images of a message, in the order of its fields: bytes that are images, and texts that are data URLs of one. */
export function imagesIn(type: DescMessage, message: Message): ImagePlace[] {
  const places: ImagePlace[] = [];
  if (mayHoldImages(type)) visit(type, message as unknown as Fields, '', places);
  return places;
}

/** Whether a whole text is the data URL of an image, however it is broken into lines. Anything else is a text. */
export function isImageUrl(text: string): boolean {
  return /^\s*data:image\/[^\s,]{1,256},/i.test(text.slice(0, 512)) && !/[^\w+/=\s-]/.test(afterComma(text));
}

const afterComma = (text: string) => text.slice(text.indexOf(',') + 1);

const known = new Map<string, boolean>();

function mayHoldImages(type: DescMessage): boolean {
  const before = known.get(type.typeName);
  if (before !== undefined) return before;
  // A type that holds itself holds what else it holds.
  known.set(type.typeName, false);
  const holds = type.fields.some(
    (field) => isPlace(field) || (field.message && mayHoldImages(field.message)),
  );
  if (holds) known.set(type.typeName, true);
  else known.delete(type.typeName);
  return holds;
}

const STRING = 9;
const isPlace = (field: DescField) =>
  (isBytes(field) && kindOfBytes(field) === 'image') || (field.scalar === STRING && kindOf(field) === 'text');

function visit(type: DescMessage, message: Fields, path: string, places: ImagePlace[]): void {
  for (const field of type.fields) {
    const { oneof, localName } = field;
    const chosen = oneof && (message[oneof.localName] as { case?: string } | undefined);
    if (chosen && chosen.case !== localName) continue;
    const [holder, key] = oneof ? [chosen as Fields | undefined, 'value'] : [message, localName];
    const value = holder?.[key];
    if (value === undefined || value === null) continue;
    const here = path === '' ? field.name : `${path}.${field.name}`;
    if (isPlace(field)) eachOf(holder!, key, here, places, placeOf);
    else if (isStruct(field)) eachOf(holder!, key, here, places, jsonPlaces);
    else if (field.message && mayHoldImages(field.message)) {
      const { message: inner } = field;
      eachOf(holder!, key, here, places, (one, name, at) => visit(inner, one[name] as Fields, at, places));
    }
  }
}

/** Struct is a plain object of JSON in generated code. */
const isStruct = (field: DescField) =>
  field.message?.typeName === 'google.protobuf.Struct' && field.parent.typeName !== 'google.protobuf.Value';

type At = (holder: Fields, key: string, path: string, places: ImagePlace[]) => void;

/** A single value, the values of a list, or those of a map. */
function eachOf(holder: Fields, key: string, path: string, places: ImagePlace[], at: At): void {
  const value = holder[key];
  if (Array.isArray(value))
    value.forEach((_, i) => void at(value as never, String(i), `${path}[${i}]`, places));
  else if (at === placeOf && typeof value === 'object' && !(value instanceof Uint8Array))
    for (const name of Object.keys(value as Fields)) at(value as Fields, name, `${path}.${name}`, places);
  else at(holder, key, path, places);
}

function jsonPlaces(holder: Fields, key: string, path: string, places: ImagePlace[]): void {
  const value = holder[key];
  if (typeof value === 'string') placeOf(holder, key, path, places);
  else if (Array.isArray(value))
    value.forEach((_, i) => void jsonPlaces(value as never, String(i), `${path}[${i}]`, places));
  else if (typeof value === 'object' && value !== null)
    for (const name of Object.keys(value)) jsonPlaces(value as Fields, name, `${path}.${name}`, places);
}

function placeOf(holder: Fields, key: string, path: string, places: ImagePlace[]): void {
  const value = holder[key];
  const put = (image: unknown) => {
    holder[key] = image;
  };
  // Empty bytes are no image: the contract says whether they may be there.
  if (value instanceof Uint8Array) {
    if (value.length > 0) places.push({ path, read: () => value, put });
  } else if (typeof value === 'string' && isImageUrl(value)) {
    const read = () => imageFromDataUrl(value.replace(/\s+/g, ''));
    places.push({ path, read, put: (bytes) => put(dataUrl(bytes)) });
  }
}

const dataUrl = (bytes: Uint8Array) =>
  `data:${readHeader(bytes).mediaType};base64,${Buffer.from(bytes).toString('base64')}`;
