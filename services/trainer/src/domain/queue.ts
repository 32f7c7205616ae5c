/** Stream and subject of the queue that hands jobs to workers. Outside `landfall.`: tasks are no events. */
export const QUEUE = { stream: 'LANDFALL_TRAINER_JOBS', subject: 'landfall-work.trainer.jobs' } as const;
