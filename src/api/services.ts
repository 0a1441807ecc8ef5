/** Names that `spec.service` may have. */
export const SERVICE_NAMES = [
  'wandb',
  'mlflow',
  'huggingface',
  'aws',
  'gcp',
  'azure-storage',
  'postgres',
  'mongodb',
  'redis',
  'dockerhub',
  'registry',
  'git-ssh',
  'ngc',
  'openai',
  'github',
  'generic',
] as const
