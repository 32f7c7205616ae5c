/** Name of the deployment that serves a job's draft while it is evaluated. */
export const evaluationDeployment = (jobId: string): string => `evaluation-${jobId}`;
