import type { DescMethod, Message } from '@bufbuild/protobuf';

/** Fields that name what a call is about, by what they name; the first that is filled counts. */
const FIELDS: readonly (readonly [field: string, collection: string])[] = [
  ['model', 'models'],
  ['deployment', 'deployments'],
  ['prompt', 'prompts'],
  ['jobId', 'jobs'],
  ['planId', 'plans'],
  ['name', ''],
  ['id', ''],
];

/** What `name` and `id` mean, by the package of their service. */
const COLLECTIONS: Readonly<Record<string, string>> = {
  'landfall.registry.v1': 'models',
  'landfall.trainer.v1': 'jobs',
  'landfall.balancer.v1': 'deployments',
  'landfall.prompt.v1': 'prompts',
  'landfall.vision.v1': 'vision',
};
const LONGEST = 256;

/** What a message is about, as `models/NAME`; empty where it names nothing. */
export function resourceOf(method: DescMethod, message: Message): string {
  for (const [field, collection] of FIELDS) {
    const value = (message as Message & Record<string, unknown>)[field];
    if (typeof value !== 'string' || value === '') continue;
    // Names in messages of the gateway's own services are of many things: changes tell them for themselves.
    const kind = collection || COLLECTIONS[method.parent.file.proto.package];
    return kind ? `${kind}/${value}`.slice(0, LONGEST) : '';
  }
  return '';
}
