/** What is asked for: a deployment by its name, or a model (`models:/name/version` or `models:/name@alias`). */
export type BalancingTarget = { deployment: string } | { model: string };

/** The target behind what people write where a model is asked for: `models:/...`, or a deployment's name. */
export function targetOf(model: string): BalancingTarget {
  return model.startsWith('models:/') ? { model } : { deployment: model };
}

export function targetName(target: BalancingTarget): string {
  return 'model' in target ? target.model : `deployment '${target.deployment}'`;
}
