import { badVariable } from '../errors.ts';

const DIGEST = /^sha256:[0-9a-f]{64}$/;
const DATA = /^data:image\/(?:png|jpeg|webp);base64,/;

/**
 * Whether a text is the reference of a picture: the digest of a stored one, a `data:` URL, or an https URL without user
 * name and password. Nothing is fetched.
 * @throws LandfallError INVALID_ARGUMENT naming the variable
 */
export function checkImage(name: string, reference: string): void {
  if (DIGEST.test(reference)) return;
  if (DATA.test(reference)) {
    const data = reference.slice(reference.indexOf(',') + 1);
    const isWhole = data.length > 0 && data.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(data);
    if (!isWhole) throw badVariable(name, 'is a data URL whose content is no base64');
    return;
  }
  const url = URL.canParse(reference) ? new URL(reference) : undefined;
  if (url?.protocol === 'https:' && url.username === '' && url.password === '' && !/\s/.test(reference))
    return;
  throw badVariable(
    name,
    'must be a picture: an https URL without user name, a data:image/png;base64, URL (or jpeg, webp), or a sha256: digest',
  );
}
