import { type DescMethod, getOption } from '@bufbuild/protobuf';
import { type Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';

/** What the contract says of a method. */
export interface MethodRule {
  /** `landfall.registry.v1.RegistryService/CreateModel`. */
  name: string;
  /** Part of the mesh that it belongs to: `registry`. */
  area: string;
  /** The least role that may call it. */
  needed: Role;
}

const rules = new WeakMap<DescMethod, MethodRule>();

/** Looked up once a method: reading an option takes longer than a decision. */
export function ruleOf(method: DescMethod): MethodRule {
  let rule = rules.get(method);
  if (!rule) {
    const { typeName } = method.parent;
    const area = typeName.split('.')[1] ?? '';
    rule = { name: `${typeName}/${method.name}`, area, needed: getOption(method, roleOption) };
    rules.set(method, rule);
  }
  return rule;
}
