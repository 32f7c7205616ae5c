/** Why a run ends, in words for whoever started it. Another attempt would end the same way. */
export class TrainingError extends Error {
  readonly kind: 'data' | 'diverged' | 'model' | 'disk' | 'memory' | 'gate';

  constructor(kind: TrainingError['kind'], message: string) {
    super(message);
    this.name = 'TrainingError';
    this.kind = kind;
  }
}

/** A full disk by any of its names. */
export function isDiskFull(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
