import { type Kind, resourceNamed } from '@landfall/common/identity/resources.ts';

/** What `name` stands for in the events of a service. */
const OWN: Readonly<Record<string, Kind>> = { registry: 'models', balancer: 'deployments' };
/** What other fields name, unless they say `models:/`. */
const REFERENCES: Readonly<Record<string, Kind>> = { model: 'deployments', deployment: 'deployments' };
const RESOURCE = /^(models|deployments|collections)\/[^/]+$/;

/**
 * Resources that an event is about or names, as `models/NAME`: by the service that its subject tells, and by every text
 * that is a model's reference.
 * @param payload as it is in the stream: ProtoJSON
 */
export function resourcesOfEvent(subject: string, payload: Readonly<Record<string, unknown>>): string[] {
  const own = OWN[subject.split('.')[1] ?? ''];
  return Object.entries(payload).flatMap(([field, value]) => {
    if (typeof value !== 'string') return [];
    // A change of configuration says what it was made to.
    if (field === 'resource') return RESOURCE.test(value) ? [value] : [];
    return resourceNamed(value, field === 'name' ? own : REFERENCES[field]) ?? [];
  });
}
