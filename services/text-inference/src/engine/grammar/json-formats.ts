/** The formats of JSON Schema as expressions; each matches only what the standard allows, not always all of it. */

const HOUR = '([01]\\d|2[0-3]):[0-5]\\d';
/** RFC 3339, without the 29th of February, which not every year has. */
const DATE =
  '\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))';
const TIME = `${HOUR}:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]${HOUR})`;
const LABEL = '[a-z0-9A-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
const HOST = `${LABEL}(\\.${LABEL}){0,3}`;
const BYTE = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const GROUP = '[0-9a-fA-F]{1,4}';

export const FORMATS: ReadonlyMap<string, string> = new Map([
  ['date', DATE],
  ['time', TIME],
  ['date-time', `${DATE}T${TIME}`],
  [
    'duration',
    'P(\\d{1,9}D(T\\d{1,9}H(\\d{1,9}M(\\d{1,9}S)?)?)?|T\\d{1,9}(H(\\d{1,9}M(\\d{1,9}S)?)?|M(\\d{1,9}S)?|S)|\\d{1,9}W)',
  ],
  ['email', `[a-zA-Z0-9_+-]{1,32}(\\.[a-zA-Z0-9_+-]{1,15}){0,2}@${LABEL}(\\.${LABEL}){1,2}`],
  ['hostname', HOST],
  ['ipv4', `${BYTE}(\\.${BYTE}){3}`],
  ['ipv6', `${GROUP}(:${GROUP}){7}|::(${GROUP}(:${GROUP}){0,5})?`],
  ['uri', `https?://${HOST}(:[1-9]\\d{0,3})?(/[a-zA-Z0-9._~!$&'()*+,;=:@-]*)*`],
  ['uuid', '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}'],
]);
