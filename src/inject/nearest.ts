export { didYouMean, nearest } from '../api/nearest.ts'
